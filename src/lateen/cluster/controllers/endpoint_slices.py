"""EndpointSlices of a Service: Service, pods, slices as they are -> actions.

Pods that serve the same ports share slices of at most 100 endpoints. An endpoint stays in the slice it is in, and a
slice that is no longer needed is used for another set of ports before a new one is made, so that few slices change
with a pod. Names end in five letters like Kubernetes' own, but are derived from the Service: making one twice is
refused by the API server instead of doubling it.

Source: the Kubernetes page "EndpointSlices" and its controller (staging/src/k8s.io/endpointslice).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import count, islice
from typing import Any

from lateen.api.core import Service
from lateen.api.discovery import SERVICE_NAME_LABEL
from lateen.api.objects import JsonObject, labels_of, name_of, namespace_of, uid_of
from lateen.api.pod import Pod
from lateen.cluster.controllers.actions import Action, Create, Delete, Update
from lateen.cluster.controllers.backends import Backend, PortNumber, find_backends, is_headless, is_selecting
from lateen.cluster.controllers.state import ENDPOINT_SLICE

MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
#: The name of Kubernetes' own controller, which readers of slices look for.
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS_LABEL = "service.kubernetes.io/headless"

_ENDPOINTS_PER_SLICE = 100
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' alphabet for generated names

Ports = tuple[PortNumber, ...]


def reconcile_slices(
    service: Service | None,
    pods: Iterable[Pod],
    slices: Iterable[JsonObject],
    zones: Mapping[str, str],
) -> list[Action]:
    """What makes the Service's slices true; `slices` are those labelled with it, `zones` node -> zone."""
    own = [found for found in slices if labels_of(found).get(MANAGED_BY_LABEL) == MANAGER]
    if service is None or service.metadata.deletion_timestamp is not None:
        return [_delete(found) for found in own]
    if not is_selecting(service):
        return []
    pods, families = list(pods), service.spec.ip_families or ("IPv4",)
    actions: list[Action] = [_delete(found) for found in own if found.get("addressType") not in families]
    for family in families:
        wanted: dict[Ports, dict[str, JsonObject]] = {}
        for backend in find_backends(service, pods, family):
            wanted.setdefault(backend.ports, {})[backend.pod.metadata.uid] = _build_endpoint(service, backend, zones)
        packing = _Packing(service, family, [found for found in own if found.get("addressType") == family])
        actions += packing.pack(wanted)
    return actions


class _Packing:
    """The slices of one Service and address type."""

    def __init__(self, service: Service, family: str, slices: list[JsonObject]) -> None:
        self._service = service
        self._family = family
        self._spare = list(slices)
        self._taken = {name_of(found) for found in slices}

    def pack(self, wanted: Mapping[Ports, dict[str, JsonObject]]) -> Iterator[Action]:
        """Keep what may stay, put the rest where there is room, delete what is left over; empties `wanted`."""
        kept = [(ports, *filled) for ports, endpoints in wanted.items() for filled in self._keep(ports, endpoints)]
        fresh = [
            (ports, chunk)
            for ports, endpoints in wanted.items()
            for chunk in _batched(endpoints.values(), _ENDPOINTS_PER_SLICE)
        ]
        if not kept and not fresh:
            fresh = [((), [])]  # a Service without endpoints has one empty slice
        for ports, found, endpoints in kept:
            yield from self._write(found, ports, endpoints)
        for ports, endpoints in fresh:
            yield from self._write(self._spare.pop(0) if self._spare else None, ports, endpoints)
        yield from map(_delete, self._spare)

    def _keep(self, ports: Ports, missing: dict[str, JsonObject]) -> list[tuple[JsonObject, list[JsonObject]]]:
        kept: list[tuple[JsonObject, list[JsonObject]]] = []
        for found in [found for found in self._spare if (found.get("ports") or []) == _document(ports)]:
            uids = [(endpoint.get("targetRef") or {}).get("uid") for endpoint in found.get("endpoints") or ()]
            if staying := [missing.pop(uid) for uid in uids if uid in missing]:
                kept.append((found, staying))
                self._spare.remove(found)
        for _, staying in kept:
            while missing and len(staying) < _ENDPOINTS_PER_SLICE:
                staying.append(missing.pop(next(iter(missing))))
        return kept

    def _write(self, found: JsonObject | None, ports: Ports, endpoints: list[JsonObject]) -> Iterator[Action]:
        metadata = self._service.metadata
        labels = {**_labels_to_copy(metadata.labels), SERVICE_NAME_LABEL: metadata.name, MANAGED_BY_LABEL: MANAGER}
        if is_headless(self._service):
            labels[HEADLESS_LABEL] = ""
        content = {"addressType": self._family, "endpoints": endpoints, "ports": _document(ports)}
        owners = [build_owner(self._service)]
        if found is None:
            name = self._new_name()
            header = {"name": name, "namespace": metadata.namespace, "labels": labels, "ownerReferences": owners}
            document = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": header, **content}
            self._taken.add(name)
            yield Create(ENDPOINT_SLICE, document)
            return
        header = {**found["metadata"], "labels": labels, "ownerReferences": owners}
        stored = {part: found.get(part) or [] for part in ("endpoints", "ports")}
        if stored != {part: content[part] for part in stored} or header != found["metadata"]:
            yield Update(ENDPOINT_SLICE, {**found, "metadata": header, **content})

    def _new_name(self) -> str:
        metadata = self._service.metadata
        for number in count():
            seed = f"{metadata.uid} {self._family} {number}".encode()
            digest = int.from_bytes(hashlib.sha256(seed).digest())
            letters = ""
            for _ in range(5):
                digest, letter = divmod(digest, len(_SUFFIX_LETTERS))
                letters += _SUFFIX_LETTERS[letter]
            if (name := f"{metadata.name}-{letters}") not in self._taken:
                return name
        raise AssertionError("count() ended")


def build_owner(service: Service) -> dict[str, Any]:
    """The reference by which an object is deleted with the Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "name": service.metadata.name,
        "uid": service.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _build_endpoint(service: Service, backend: Backend, zones: Mapping[str, str]) -> JsonObject:
    spec, metadata = backend.pod.spec, service.metadata
    endpoint: JsonObject = {
        "addresses": [backend.address],
        "conditions": {"ready": backend.ready, "serving": backend.serving, "terminating": backend.terminating},
        "targetRef": backend.target(),
    }
    if spec.node_name:
        endpoint["nodeName"] = spec.node_name
        if zone := zones.get(spec.node_name):
            endpoint["zone"] = zone
    if spec.hostname and spec.subdomain == metadata.name:
        endpoint["hostname"] = spec.hostname
    return endpoint


def _batched(endpoints: Iterable[JsonObject], size: int) -> Iterator[list[JsonObject]]:
    rest = iter(endpoints)
    while batch := list(islice(rest, size)):
        yield batch


def _document(ports: Ports) -> list[dict[str, Any]]:
    return [port.document() for port in ports]


def _labels_to_copy(labels: Mapping[str, str]) -> dict[str, str]:
    reserved = {SERVICE_NAME_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL}
    return {name: value for name, value in labels.items() if name not in reserved}


def _delete(found: JsonObject) -> Delete:
    return Delete(ENDPOINT_SLICE, namespace_of(found), name_of(found), uid_of(found))
