"""Extract Kubernetes' own schemas from the pinned wheel `kubernetes-validate` into the package: wheel ->
three gz files.

    python tools/extract_kubernetes_schemas.py [--check]

`structures.json.gz`: definition name -> OpenAPI schema without prose, with merge keys and list types.
`descriptions.json.gz`: definition name -> {"": text, field: text}, read only to build OpenAPI documents.
`kinds.json.gz`: "group/version/kind" -> definition name. Only definitions that stable versions (v1, v2)
reach are kept. The wheel writes types as pairs with "null" and narrows `apiVersion` and `kind` by enums;
both are undone, so that what is left is what kube-apiserver publishes. Output is reproducible: sorted keys,
no time stamp; `--check` compares instead of writing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from importlib import metadata, resources
from pathlib import Path
from typing import Any

WHEEL = "kubernetes-validate"
WHEEL_VERSION = "1.37.0"
KUBERNETES = "v1.34.0"
TARGET = Path(__file__).parent.parent / "src/lateen/api/schema"

_META = "io.k8s.apimachinery."
_SPECIAL = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "x-kubernetes-int-or-string": True,
    },
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string", "format": "quantity"},
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": {"x-kubernetes-preserve-unknown-fields": True},
    "io.k8s.apimachinery.pkg.runtime.RawExtension": {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    },
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    },
}
#: Members of JSONSchemaProps whose Go types take several JSON shapes; the wheel has them empty.
_ANY_SHAPE = ("JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray")


def read_definitions() -> dict[str, Any]:
    """The definitions of the wheel; SystemExit when another version is installed than this tool was written
    for.
    """
    found = metadata.version(WHEEL)
    if found != WHEEL_VERSION:
        raise SystemExit(f"{WHEEL} {WHEEL_VERSION} is needed, {found} is installed")
    path = f"kubernetes-json-schema/{KUBERNETES}-local/_definitions.json"
    text = resources.files("kubernetes_validate").joinpath(path).read_text()
    return dict(json.loads(text)["$defs"])


def extract(definitions: dict[str, Any]) -> dict[str, bytes]:
    """File name -> content of the data files."""
    names = _reachable(definitions)
    structures = {name: _structure(name, definitions[name]) for name in names}
    descriptions = {name: _descriptions(definitions[name]) for name in names}
    kinds = {
        f"{one['group']}/{one['version']}/{one['kind']}": name
        for name in names
        for one in definitions[name].get("x-kubernetes-group-version-kind", ())
        if not name.startswith(_META)
    }
    contents = {"structures": structures, "descriptions": descriptions, "kinds": kinds}
    return {f"{name}.json.gz": _pack(content) for name, content in contents.items()}


def _reachable(definitions: dict[str, Any]) -> list[str]:
    roots = [
        name
        for name, definition in definitions.items()
        if name.startswith(_META)
        or any(re.fullmatch(r"v\d+", one["version"]) for one in definition.get("x-kubernetes-group-version-kind", ()))
    ]
    found: set[str] = set()
    while roots:
        name = roots.pop()
        if name not in found:
            found.add(name)
            roots.extend(re.findall(r"#/\$defs/([^\"]+)", json.dumps(definitions[name])))
    return sorted(found)


def _structure(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    if name in _SPECIAL:
        return dict(_SPECIAL[name])
    if name.endswith(_ANY_SHAPE):
        return {"x-kubernetes-preserve-unknown-fields": True}
    return _schema(definition)


def _schema(node: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in node.items():
        match key:
            case "description" | "enum":
                continue
            case "type":
                result[key] = value if isinstance(value, str) else next(one for one in value if one != "null")
            case "$ref":
                result[key] = value.removeprefix("#/$defs/")
            case "properties":
                result[key] = {name: _schema(child) for name, child in value.items()}
            case "items" | "additionalProperties":
                result[key] = _schema(value) if isinstance(value, dict) else value
            case _:
                result[key] = value
    return result


def _descriptions(definition: dict[str, Any]) -> dict[str, str]:
    own = {"": definition["description"]} if "description" in definition else {}
    properties = definition.get("properties", {})
    return own | {name: one["description"] for name, one in properties.items() if "description" in one}


def _pack(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def main() -> int:
    """Write the data files, or compare them; the exit code is 1 when they differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the files in the package, write nothing")
    check = parser.parse_args().check
    differing = []
    for name, content in extract(read_definitions()).items():
        path = TARGET / name
        if check:
            if not path.exists() or gzip.decompress(path.read_bytes()) != gzip.decompress(content):
                differing.append(name)
        else:
            path.write_bytes(content)
            print(f"{name}: {len(content):,} bytes")
    if differing:
        print("these differ from the wheel, run this tool without --check:", ", ".join(differing))
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
