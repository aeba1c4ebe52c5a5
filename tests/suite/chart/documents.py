"""Reads rendered manifests as a cluster would.

Takes a directory of YAML files and prints one JSON object: `documents` by the name of their file, `wrong`, what a cluster
would refuse, and `checked`, how often one was looked at. Each document is held to the strict schema, which knows no other
fields, of each version of Kubernetes: in one process, because reading the schemas is what takes time.
"""

import functools
import json
import pathlib
import sys

import yaml
from kubernetes_validate import utils

VERSIONS = ["1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"]
# Kubernetes does not know them by itself; those who bring them validate them.
FOREIGN = {"Certificate", "GRPCRoute", "HTTPRoute", "PrometheusRule", "ServiceMonitor"}

utils.schema_contents = functools.cache(utils.schema_contents)
utils.all_versions = functools.cache(utils.all_versions)


class Loader(yaml.CSafeLoader):
    """Refuses what stands twice in one mapping, where YAML would take the last."""

    def construct_mapping(self, node, deep=False):
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise yaml.YAMLError(f"{name} stands twice: {node.start_mark}")
        return super().construct_mapping(node, deep)


documents, wrong, checked = {}, [], 0
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.yaml")):
    found = [document for document in yaml.load_all(path.read_text(), Loader) if document]
    documents[path.stem] = found
    for document in found:
        if document["kind"] in FOREIGN:
            continue
        for version in VERSIONS:
            try:
                utils.validate(document, version, strict=True)
                checked += 1
            except Exception as error:
                place = "/".join(map(str, getattr(error, "path", [])))
                message = getattr(error, "message", error)
                wrong.append(f"{path.stem}: {document['kind']} {document['metadata']['name']} {place}: {message} ({version})")
json.dump({"documents": documents, "wrong": wrong, "checked": checked}, sys.stdout)
