"""Envoy's descriptors, of which only those asked for are ever built.

serialised `FileDescriptorSet` -> where each file lies, which top-level name stands in which file -> one file at a time,
as protobuf's `DescriptorPool` asks for it with its imports. The pinned Envoy carries some 560 files and the mesh needs
80 of them; building all of them would cost 10 MB more in each process.
Source: descriptor.proto (field numbers), "Encoding" in protobuf's documentation; the interface is that of protobuf's
`descriptor_database`.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import FileDescriptorProto

_FILE_NAME, _FILE_PACKAGE, _FILE_MESSAGE, _FILE_ENUM = 1, 2, 4, 5
_DECLARED_NAME = 1


class DescriptorFiles:
    """The files of a `FileDescriptorSet`, by name and by the messages and enums they declare."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._places: dict[str, tuple[int, int]] = {}
        self._files: dict[str, str] = {}
        for _, start, end in _iterate_fields(encoded, 0, len(encoded)):
            self._add(start, end)

    def FindFileByName(self, name: str) -> FileDescriptorProto:
        """The file; raises KeyError."""
        start, end = self._places[name]
        return FileDescriptorProto.FromString(self._encoded[start:end])

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptorProto:
        """The file that declares a message or enum, or what it is nested in; raises KeyError."""
        name = symbol
        while name not in self._files:
            name = name.rpartition(".")[0]
            if not name:
                raise KeyError(symbol)
        return self.FindFileByName(self._files[name])

    def _add(self, start: int, end: int) -> None:
        name = package = ""
        declared: list[str] = []
        for number, first, last in _iterate_fields(self._encoded, start, end):
            if number == _FILE_NAME:
                name = self._encoded[first:last].decode()
            elif number == _FILE_PACKAGE:
                package = self._encoded[first:last].decode()
            elif number in (_FILE_MESSAGE, _FILE_ENUM):
                declared.append(self._read_name(first, last))
        self._places[name] = (start, end)
        self._files.update((f"{package}.{each}" if package else each, name) for each in declared)

    def _read_name(self, start: int, end: int) -> str:
        for number, first, last in _iterate_fields(self._encoded, start, end):
            if number == _DECLARED_NAME:
                return self._encoded[first:last].decode()
        return ""


def _iterate_fields(encoded: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of a message that holds bytes; others are skipped."""
    while start < end:
        tag, start = _read_varint(encoded, start)
        match tag & 7:
            case 0:
                _, start = _read_varint(encoded, start)
            case 1:
                start += 8
            case 2:
                size, start = _read_varint(encoded, start)
                yield tag >> 3, start, start + size
                start += size
            case 5:
                start += 4
            case wire_type:
                raise ValueError(f"wire type {wire_type} in a descriptor")


def _read_varint(encoded: bytes, start: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = encoded[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
        shift += 7
