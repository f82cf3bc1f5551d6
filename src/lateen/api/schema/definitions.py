"""Kubernetes' own schemas, read from the package on first use: definition name -> Schema.

`structures.json.gz` holds one JSON object, definition name -> schema without descriptions; `kinds.json.gz`
ties (group, version, kind) to names. Both come from `tools/extract_kubernetes_schemas.py`. A definition is
parsed when somebody first asks for it and then shared by all; the rest stays one block of bytes.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib import resources
from typing import Any

import msgspec

from lateen.api.schema.model import Schema


def read_data(name: str) -> bytes:
    """The unpacked bytes of one data file of this package."""
    return gzip.decompress(resources.files(__package__).joinpath(name).read_bytes())


@cache
def _structures() -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(read_data("structures.json.gz"), type=dict[str, msgspec.Raw])


@cache
def _names() -> dict[str, str]:
    return msgspec.json.decode(read_data("kinds.json.gz"), type=dict[str, str])


@cache
def get_definition(name: str) -> Schema:
    """The definition of that name, for example `io.k8s.api.core.v1.Pod`; KeyError when there is none."""
    return msgspec.json.decode(_structures()[name], type=Schema)


def read_structure(name: str) -> dict[str, Any]:
    """The definition of that name as plain JSON, made anew at each call; KeyError when there is none."""
    return msgspec.json.decode(_structures()[name], type=dict[str, Any])


def definition_names() -> frozenset[str]:
    """The names of all definitions."""
    return frozenset(_structures())


def find_definition_name(group: str, version: str, kind: str) -> str | None:
    """The name of the definition of a built-in kind, None for any other kind."""
    return _names().get(f"{group}/{version}/{kind}")


def find_schema(group: str, version: str, kind: str) -> Schema | None:
    """The schema of a built-in kind, None for any other kind."""
    name = find_definition_name(group, version, kind)
    return None if name is None else get_definition(name)


def follow(schema: Schema) -> Schema:
    """The schema itself, or the definition it stands for."""
    return schema if schema.ref is None else get_definition(schema.ref)
