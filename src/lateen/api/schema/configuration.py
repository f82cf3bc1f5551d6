"""What ConfigMaps and Secrets, and roles and bindings, must be beyond their types: (document, old or None)
-> FieldErrors.

Source: the pages of these kinds in the Kubernetes API reference.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from lateen.api.json_patch import equal_json
from lateen.api.schema import names
from lateen.api.schema.errors import FieldError, forbidden, invalid, not_supported, required, too_long

Part = Mapping[str, Any]

#: Kubernetes' limit for the data of one ConfigMap or Secret.
MAX_BYTES = 1024 * 1024
RBAC = "rbac.authorization.k8s.io"
_FROZEN = "field is immutable when `immutable` is set"

#: Secret type -> keys it cannot do without.
_SECRET_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
}
_JSON_SECRETS = ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson")
_ACCOUNT_NAME = "kubernetes.io/service-account.name"


def validate_config_map(config_map: Part, old: Part | None) -> Iterator[FieldError]:
    """The mistakes in a ConfigMap."""
    yield from _validate_frozen(config_map, old, ("data", "binaryData"))
    data, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    size = 0
    for member, values in (("data", data), ("binaryData", binary)):
        for key, value in values.items():
            yield from (invalid(f"{member}[{key}]", key, text) for text in names.check_config_key(key))
            if member == "data" and key in binary:
                yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
            size += len(value.encode()) if member == "data" else len(value) * 3 // 4
    if size > MAX_BYTES:
        yield too_long("", MAX_BYTES)


def _validate_frozen(document: Part, old: Part | None, members: tuple[str, ...]) -> Iterator[FieldError]:
    if old is None or not old.get("immutable"):
        return
    if not document.get("immutable"):
        yield forbidden("immutable", _FROZEN)
    for member in members:
        if not equal_json(document.get(member), old.get(member)):
            yield forbidden(member, _FROZEN)


def validate_secret(secret: Part, old: Part | None) -> Iterator[FieldError]:
    """The mistakes in a Secret; the type of an existing one does not change."""
    if old is not None and secret.get("type") != old.get("type"):
        yield invalid("type", secret.get("type"), "field is immutable")
    yield from _validate_frozen(secret, old, ("data",))
    data, kind = secret.get("data") or {}, secret.get("type")
    for key in data:
        yield from (invalid(f"data[{key}]", key, text) for text in names.check_config_key(key))
    if sum(len(value) * 3 // 4 for value in data.values()) > MAX_BYTES:
        yield too_long("data", MAX_BYTES)
    yield from (required(f"data[{key}]") for key in _SECRET_KEYS.get(kind or "", ()) if key not in data)
    if kind == "kubernetes.io/basic-auth" and not data.keys() & {"username", "password"}:
        yield required("data[username]")
        yield required("data[password]")
    annotations = (secret.get("metadata") or {}).get("annotations") or {}
    if kind == "kubernetes.io/service-account-token" and not annotations.get(_ACCOUNT_NAME):
        yield required(f"metadata.annotations[{_ACCOUNT_NAME}]")
    if kind in _JSON_SECRETS and (key := _SECRET_KEYS[kind][0]) in data:
        try:
            json.loads(base64.b64decode(data[key]))
        except (ValueError, binascii.Error) as error:
            yield invalid(f"data[{key}]", "<secret contents redacted>", str(error))


def validate_role(role: Part, _old: Part | None) -> Iterator[FieldError]:
    """The mistakes in a Role or ClusterRole."""
    namespaced = role.get("kind") == "Role"
    for place, rule in enumerate(role.get("rules") or ()):
        here = f"rules[{place}]"
        if not rule.get("verbs"):
            yield required(f"{here}.verbs", "verbs must contain at least one value")
        urls = rule.get("nonResourceURLs")
        if urls:
            if namespaced:
                text = "namespaced rules cannot apply to non-resource URLs"
                yield invalid(f"{here}.nonResourceURLs", urls, text)
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                text = "rules cannot apply to both regular resources and non-resource URLs"
                yield invalid(f"{here}.nonResourceURLs", urls, text)
            continue
        if not rule.get("apiGroups"):
            yield required(f"{here}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield required(f"{here}.resources", "resource rules must supply at least one resource")


def validate_binding(binding: Part, old: Part | None) -> Iterator[FieldError]:
    """The mistakes in a RoleBinding or ClusterRoleBinding; what it refers to does not change."""
    namespaced = binding.get("kind") == "RoleBinding"
    role = binding.get("roleRef") or {}
    if role.get("apiGroup") != RBAC:
        yield not_supported("roleRef.apiGroup", role.get("apiGroup", ""), (RBAC,))
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    if role.get("kind") not in kinds:
        yield not_supported("roleRef.kind", role.get("kind", ""), kinds)
    if not role.get("name"):
        yield required("roleRef.name")
    else:
        name = role["name"]
        yield from (invalid("roleRef.name", name, text) for text in names.check_path_segment(name))
    for place, subject in enumerate(binding.get("subjects") or ()):
        yield from _validate_subject(subject, f"subjects[{place}]", namespaced=namespaced)
    if old is not None and not equal_json(role, old.get("roleRef")):
        yield invalid("roleRef", role, "cannot change roleRef")


def _validate_subject(subject: Part, path: str, *, namespaced: bool) -> Iterator[FieldError]:
    name, group = subject.get("name") or "", subject.get("apiGroup") or ""
    if not name:
        yield required(f"{path}.name")
    match subject.get("kind"):
        case "ServiceAccount":
            yield from (invalid(f"{path}.name", name, text) for text in names.check_subdomain(name or "a"))
            if group:
                yield not_supported(f"{path}.apiGroup", group, ("",))
            if not namespaced and not subject.get("namespace"):
                yield required(f"{path}.namespace")
        case "User" | "Group":
            if group != RBAC:
                yield not_supported(f"{path}.apiGroup", group, (RBAC,))
        case other:
            yield not_supported(f"{path}.kind", other or "", ("ServiceAccount", "User", "Group"))
