"""The volumes of an injected pod and where `istio-proxy` mounts them.

Flow: annotations + settings -> volumes, mounts, each in the order of Istio's injection template.
Source: Istio's injection template; annotations `sidecar.istio.io/userVolume` and `userVolumeMount` (JSON).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lateen.base.errors import DataError
from lateen.inject.settings import InjectionSettings

Document = dict[str, Any]

_USER_VOLUME = "sidecar.istio.io/userVolume"
_USER_MOUNT = "sidecar.istio.io/userVolumeMount"
_TOKEN_SECONDS = 43_200
_CRL = "istio-ca-crl"
_MOUNTS = (
    ("workload-socket", "/var/run/secrets/workload-spiffe-uds"),
    ("credential-socket", "/var/run/secrets/credential-uds"),
    ("workload-certs", "/var/run/secrets/workload-spiffe-credentials"),
    ("istiod-ca-cert", "/var/run/secrets/istio"),
    (_CRL, "/var/run/secrets/istio/crl"),
    ("istio-data", "/var/lib/istio/data"),
    ("istio-envoy", "/etc/istio/proxy"),
    ("istio-token", "/var/run/secrets/tokens"),
    ("istio-podinfo", "/etc/istio/pod"),
)


def build_volumes(annotations: Mapping[str, str], settings: InjectionSettings, *, is_gateway: bool) -> list[Document]:
    """The volumes; raises DataError for a `userVolume` that is no JSON object."""
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    notes = {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}
    token = {"path": "istio-token", "expirationSeconds": _TOKEN_SECONDS, "audience": settings.token_audience}
    crl = {"name": _CRL, "configMap": {"name": _CRL, "optional": True}}
    own = _read(annotations, _USER_VOLUME)
    return [
        {"name": "workload-socket", "emptyDir": {}},
        {"name": "credential-socket", "emptyDir": {}},
        {"name": "workload-certs", "emptyDir": {}},
        {"name": "istio-envoy", "emptyDir": {"medium": "Memory"}},
        {"name": "istio-data", "emptyDir": {}},
        {"name": "istio-podinfo", "downwardAPI": {"items": [labels, notes]}},
        {"name": "istio-token", "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}},
        *([] if is_gateway else [crl]),
        *({"name": name, **own[name]} for name in sorted(own)),
    ]


def build_mounts(annotations: Mapping[str, str], *, is_gateway: bool) -> list[Document]:
    """The mounts of `istio-proxy`; raises DataError for a `userVolumeMount` that is no JSON object."""
    own = _read(annotations, _USER_MOUNT)
    return [
        *({"name": name, "mountPath": path} for name, path in _MOUNTS if not (is_gateway and name == _CRL)),
        *({"name": name, **own[name]} for name in sorted(own)),
    ]


def _read(annotations: Mapping[str, str], name: str) -> Mapping[str, Any]:
    text = annotations.get(name)
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(f"annotation {name} is no JSON: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise DataError(f"annotation {name} is no JSON object of objects")
    return found
