"""What form of an answer a client takes: Accept header -> `Form`.

kubectl asks `application/json;as=Table;v=v1;g=meta.k8s.io,application/json`: the first entry that is offered wins.
Protobuf is read (lateen.api.schema.wire) but not written: clients that list JSON behind it get JSON, others 406.
Source: the Kubernetes page "API Concepts", sections on alternate representations and Table fetches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lateen.cluster.apiserver.status import not_acceptable

JSON = "application/json"
YAML = "application/yaml"
META_GROUP = "meta.k8s.io"
_OFFERED = {JSON: JSON, YAML: YAML, "*/*": JSON, "application/*": JSON}
_FORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


@dataclass(frozen=True, slots=True)
class Form:
    """How to show an answer; `as_kind` is empty for the object itself, else `Table` or
    `PartialObjectMetadata`.
    """

    media_type: str = JSON
    as_kind: str = ""
    version: str = "v1"
    group: str = ""


PLAIN = Form()


@lru_cache(512)
def negotiate(accept: str, *, streaming: bool = False) -> Form:
    """The form for an Accept header; StatusError 406 if the client takes none that is offered."""
    if accept in ("", JSON, "*/*"):
        return PLAIN
    for entry in accept.split(","):
        media_type, *parameters = (part.strip() for part in entry.split(";"))
        offered = _OFFERED.get(media_type.lower())
        if offered is None or (streaming and offered == YAML):
            continue
        values = dict(parameter.partition("=")[::2] for parameter in parameters)
        as_kind = values.get("as", "")
        if not as_kind:
            return Form(offered)
        if values.get("g") == META_GROUP and values.get("v") in ("v1", "v1beta1") and as_kind in _FORMS:
            return Form(offered, as_kind.removesuffix("List"), values["v"], META_GROUP)
    raise not_acceptable((JSON, YAML))


@lru_cache(64)
def accepts_aggregated_discovery(accept: str) -> str | None:
    """The version of aggregated discovery that a client prefers over the plain lists, or None."""
    for entry in accept.split(","):
        media_type, *parameters = (part.strip() for part in entry.split(";"))
        if _OFFERED.get(media_type.lower()) is None:
            continue
        values = dict(parameter.partition("=")[::2] for parameter in parameters)
        if not values.get("as"):
            return None
        if values.get("as") == "APIGroupDiscoveryList" and values.get("g") == "apidiscovery.k8s.io":
            return values.get("v") if values.get("v") in ("v2", "v2beta1") else None
    return None
