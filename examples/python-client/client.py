r"""Issues a token, calls a service with it, renews it and revokes it.

    pip install -r requirements.txt
    mkdir generated
    python -m grpc_tools.protoc -I ../../proto -I ../../third_party --python_out=generated --grpc_python_out=generated \
        $(cd ../../proto && find jeton -name '*.proto') $(cd ../../third_party && find * -name '*.proto')
    PYTHONPATH=generated python client.py

Environment: JETON and SERVICE (host:port), CLIENT_ID, CLIENT_SECRET.
"""

import os
import uuid

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from jeton.v1 import token_service_pb2 as wire
from jeton.v1 import token_service_pb2_grpc as services

# Long enough for a retry, short enough for a person who waits. gRPC has no deadline of its own.
DEADLINE = 5

# Retries what is safe to repeat: the request id makes an IssueToken that was answered unheard give the same token again,
# and a renewal answers a refresh token's owner the same way.
RETRIES = """{"methodConfig": [{
    "name": [{"service": "jeton.v1.TokenService"}],
    "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}]}"""


def main() -> None:
    client = {"client_id": os.environ["CLIENT_ID"], "client_secret": os.environ["CLIENT_SECRET"]}
    with (
        grpc.insecure_channel(os.environ["JETON"], [("grpc.service_config", RETRIES)]) as jeton,
        grpc.insecure_channel(os.environ["SERVICE"]) as service,
    ):
        tokens = services.TokenServiceStub(jeton)

        issue = wire.IssueTokenRequest(
            client_credentials=wire.ClientCredentialsGrant(),
            include_refresh_token=True,
            request_id=str(uuid.uuid4()),
            **client,
        )
        token = tokens.IssueToken(issue, timeout=DEADLINE).token
        print("issued", token.token_id)
        print("called:", call(service, token.access_token))

        renew = wire.RenewTokenRequest(refresh_token=token.refresh_token, **client)
        token = tokens.RenewToken(renew, timeout=DEADLINE).token
        print("renewed", token.token_id)
        print("called:", call(service, token.access_token))

        # With its refresh token goes the whole login.
        tokens.RevokeToken(wire.RevokeTokenRequest(token=token.refresh_token), timeout=DEADLINE)
        print("revoked")
        try:
            renew = wire.RenewTokenRequest(refresh_token=token.refresh_token, **client)
            tokens.RenewToken(renew, timeout=DEADLINE)
        except grpc.RpcError as error:
            print("renewal refused:", error.code().name)


def call(service: grpc.Channel, token: str) -> str:
    """Calls the service as the bearer of a token."""
    health = health_pb2_grpc.HealthStub(service)
    metadata = [("authorization", f"Bearer {token}")]
    reply = health.Check(health_pb2.HealthCheckRequest(), metadata=metadata, timeout=DEADLINE)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


if __name__ == "__main__":
    main()
