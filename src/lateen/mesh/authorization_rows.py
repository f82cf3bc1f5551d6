"""Rows of AuthorizationPolicy: of each object, what decides who may do what.

AuthorizationPolicy document -> row.

Invariants: an object that cannot be read still has a row, because a broken policy denies: one that would have allowed
allows nothing, one that would have denied, or asked an authorizer, denies everything. One that only watches (AUDIT)
has no row then. A policy that names its target (`targetRefs`) is for gateways and waypoints of the Gateway API, and
applies to no sidecar; it has no row.
Source: istio/api `security/v1beta1/authorization_policy.proto`; SEMANTICS 1.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from lateen.api.codec import decode
from lateen.api.objects import annotations_of
from lateen.api.security import AuthorizationPolicy, Rule
from lateen.mesh.rows import Labels, read_selector, sort_labels

DRY_RUN_ANNOTATION = "istio.io/dry-run"

_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})  # what Go reads as true.


class AuthorizationPolicyRow(msgspec.Struct, frozen=True, kw_only=True):
    """An AuthorizationPolicy; an empty selector means the whole namespace, or the mesh in the root namespace."""

    action: str
    rules: tuple[Rule, ...]
    selector: Labels = ()
    provider: str = ""
    """The extension provider that decides when the action is CUSTOM."""
    dry_run: bool = False
    """Whether the outcome is only counted."""


def build_authorization_policy_row(document: Mapping[str, Any]) -> AuthorizationPolicyRow | None:
    """Return the row of an AuthorizationPolicy."""
    dry_run = annotations_of(document).get(DRY_RUN_ANNOTATION) in _TRUE
    found = decode(document, AuthorizationPolicy).value
    if found is None:
        return _build_broken_row(document, dry_run=dry_run)
    spec = found.spec
    if spec.target_ref is not None or spec.target_refs:
        return None
    return AuthorizationPolicyRow(
        action=spec.action,
        rules=spec.rules,
        selector=sort_labels(spec.selector.match_labels if spec.selector is not None else {}),
        provider=spec.provider.name if spec.provider is not None else "",
        dry_run=dry_run,
    )


def _build_broken_row(document: Mapping[str, Any], *, dry_run: bool) -> AuthorizationPolicyRow | None:
    spec = document.get("spec")
    action = spec.get("action", "ALLOW") if isinstance(spec, Mapping) else "ALLOW"
    if action == "AUDIT":
        return None
    allows = action == "ALLOW"
    return AuthorizationPolicyRow(
        action="ALLOW" if allows else "DENY",
        rules=() if allows else (Rule(),),
        selector=read_selector(document),
        dry_run=dry_run,
    )
