"""A receiver of OTLP over gRPC for tests: neither our messages nor our gRPC.

It takes a free port of this machine and prints it. In the mode `take` it prints every request as one line of JSON, ids in
hexadecimal; in the mode `hang` it takes requests and never answers. With a key and a certificate it speaks TLS. It ends
with its standard input.
"""

import base64
import json
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc

mode, *tls = sys.argv[1:]
ended = threading.Event()
printing = threading.Lock()


def take(signal, request, context):
    if mode == "hang":
        ended.wait()
        return
    message = MessageToDict(request, preserving_proto_field_name=True)
    for resource in message.get("resource_spans", []):
        for scope in resource.get("scope_spans", []):
            for span in scope["spans"]:
                for name in ("trace_id", "span_id", "parent_span_id"):
                    if name in span:
                        span[name] = base64.b64decode(span[name]).hex()
    metadata = {name: value for name, value in context.invocation_metadata()}
    with printing:
        print(json.dumps({"signal": signal, "metadata": metadata, "message": message}), flush=True)


class Traces(trace_grpc.TraceServiceServicer):
    def Export(self, request, context):
        take("traces", request, context)
        return trace.ExportTraceServiceResponse()


class Metrics(metrics_grpc.MetricsServiceServicer):
    def Export(self, request, context):
        take("metrics", request, context)
        return metrics.ExportMetricsServiceResponse()


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
trace_grpc.add_TraceServiceServicer_to_server(Traces(), server)
metrics_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
if tls:
    key, certificate = (open(path, "rb").read() for path in tls)
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
ended.set()
server.stop(None)
