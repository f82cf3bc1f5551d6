"""Pod templates of a Deployment and its ReplicaSets: which are the same, and the hash that names them.

template -> hash of ten letters at most, which is the label `pod-template-hash` of ReplicaSet and pods and the end of
their names. The letters are Kubernetes' alphabet for generated names; the number behind them is FNV-1a of the
template as sorted JSON, where Kubernetes hashes Go's internal form, so that equal templates have other hashes there.
"""

from __future__ import annotations

import json
from typing import Any

from lateen.api.objects import JsonObject

HASH_LABEL = "pod-template-hash"

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_OFFSET, _PRIME = 2166136261, 16777619


def hash_template(template: JsonObject, collisions: int) -> str:
    """The hash; `collisions` is counted up when another template had the same."""
    text = json.dumps(_normalize(template), sort_keys=True, separators=(",", ":")) + str(collisions or "")
    number = _OFFSET
    for byte in text.encode():
        number = ((number ^ byte) * _PRIME) & 0xFFFFFFFF
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(number))


def label_template(template: JsonObject, found_hash: str) -> JsonObject:
    """The template with the hash among its labels."""
    metadata = template.get("metadata") or {}
    return {**template, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), HASH_LABEL: found_hash}}}


def equal_templates(one: JsonObject, other: JsonObject) -> bool:
    """Whether two templates make the same pods, their hash labels apart."""
    return bool(_normalize(one) == _normalize(other))


def _normalize(template: JsonObject) -> JsonObject:
    metadata = template.get("metadata") or {}
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name != HASH_LABEL}
    return {"metadata": _drop_empty({**metadata, "labels": labels}), "spec": template.get("spec") or {}}


def _drop_empty(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if value}
