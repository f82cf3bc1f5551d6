"""Extract how Kubernetes' built-in objects look in protobuf: Go modules -> `wire.json.gz`.

    extract_kubernetes_wire.py [--check]      needs `go`, which fetches the pinned modules

For each message of `k8s.io/api` and `k8s.io/apimachinery`: its fields by number, each with the JSON name, the wire type
and what encoding/json does with it. The type comes from the file descriptor in `generated.pb.go`, the rest from the
struct tags of the Go types. `--check` compares with the data in the package instead of writing it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

MODULES = ("k8s.io/api@v0.34.2", "k8s.io/apimachinery@v0.34.2")
TARGET = Path(__file__).resolve().parent.parent / "src/lateen/api/schema/wire.json.gz"
_DESCRIPTOR = re.compile(r"var fileDescriptor_\w+ = \[\]byte\{(.*?)\n\}", re.DOTALL)
_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r'^\t(?:(\w+)\s+)?(\S+)\s+`json:"([^"]*)"\s*(?:[\w]+:"[^"]*"\s*)*protobuf:"([^"]*)"', re.MULTILINE)
_KINDS = {
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
    FieldDescriptorProto.TYPE_INT32: "int",
    FieldDescriptorProto.TYPE_INT64: "int",
    FieldDescriptorProto.TYPE_UINT32: "int",
    FieldDescriptorProto.TYPE_DOUBLE: "double",
}


def find_modules() -> list[Path]:
    """Folders of the pinned modules, fetched by Go."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for module in MODULES:
            command = ["go", "mod", "download", "-json", module]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            found.append(Path(json.loads(done.stdout)["Dir"]))
    return found


def read_descriptor(source: str) -> FileDescriptorProto | None:
    """The file descriptor that a generated Go file carries, gzipped, as a byte literal."""
    match = _DESCRIPTOR.search(source)
    if match is None:
        return None
    data = bytes(int(text, 16) for text in re.findall(r"0x([0-9a-f]{2})", match.group(1)))
    return FileDescriptorProto.FromString(gzip.decompress(data))


def read_tags(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """(struct, field number) -> JSON name, omitempty, inline, pointer, from the struct tags of a Go package."""
    tags: dict[tuple[str, int], dict[str, Any]] = {}
    for file in sorted(folder.glob("*.go")):
        if file.name.startswith(("generated", "zz_")):
            continue
        for struct, body in _STRUCT.findall(file.read_text()):
            for _, go_type, json_tag, protobuf_tag in _FIELD.findall(body):
                name, *options = json_tag.split(",")
                number = int(protobuf_tag.split(",")[1])
                tags[struct, number] = {
                    "name": name,
                    "omitempty": "omitempty" in options or "omitzero" in options,
                    "inline": not name and "inline" in options,
                    "pointer": go_type.startswith("*"),
                }
    return tags


def build_messages(module: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Full name and fields of every message of a module."""
    for generated in sorted(module.rglob("generated.pb.go")):
        descriptor = read_descriptor(generated.read_text())
        if descriptor is None:
            continue
        tags = read_tags(generated.parent)
        for message in descriptor.message_type:
            yield f"{descriptor.package}.{message.name}", dict(_build_fields(message, descriptor, tags))


def _build_fields(
    message: DescriptorProto, file: FileDescriptorProto, tags: dict[tuple[str, int], dict[str, Any]]
) -> Iterator[tuple[str, list[Any]]]:
    entries = {f".{file.package}.{message.name}.{nested.name}": nested for nested in message.nested_type}
    for field in message.field:
        tag = tags.get((message.name, field.number), {})
        repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
        shape, kind = ("list" if repeated else "one"), _kind_of(field)
        if field.type_name in entries:
            shape, kind = "map", _kind_of(entries[field.type_name].field[1])
        flags = "".join(
            letter
            for letter, holds in (
                ("o", tag.get("omitempty", False)),
                ("i", tag.get("inline", False)),
                ("p", tag.get("pointer", False)),
            )
            if holds
        )
        yield str(field.number), [tag.get("name") or field.name, shape, kind, flags]


def _kind_of(field: FieldDescriptorProto) -> str:
    if field.type == FieldDescriptorProto.TYPE_MESSAGE:
        return field.type_name.lstrip(".")
    return _KINDS[field.type]


def main() -> int:
    """Write or check the data."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    messages = {name: fields for module in find_modules() for name, fields in build_messages(module)}
    data = json.dumps(messages, sort_keys=True, separators=(",", ":")).encode()
    if arguments.check:
        same = gzip.decompress(TARGET.read_bytes()) == data
        print("equal" if same else f"{TARGET} differs from the modules")
        return 0 if same else 1
    TARGET.write_bytes(gzip.compress(data, mtime=0))
    print(f"{len(messages)} messages, {TARGET.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
