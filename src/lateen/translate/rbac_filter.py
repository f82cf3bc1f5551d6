"""Envoy's RBAC filters: for requests, and for connections.

policies of one action -> `envoy.filters.http.rbac` or `envoy.filters.network.rbac`.

Invariants: a filter of ALLOW policies refuses what none of them matches, so policies of which no rule is left refuse
everything. Policies in dry run become shadow rules, which only count; a filter that has nothing but those decides
nothing. Names are `ns[NAMESPACE]-policy[NAME]-rule[NUMBER]`: a refused request carries the name in its details.
Source: Istio's pilot/pkg/security/authz/builder; Envoy's http/rbac and network/rbac protos.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from lateen.envoy.messages import EnvoyMessage, message_class
from lateen.mesh.authz import Policy
from lateen.translate.authorization import NEVER_MATCHES, RuleBuilder

HttpRbac = message_class("envoy.extensions.filters.http.rbac.v3.RBAC")
NetworkRbac = message_class("envoy.extensions.filters.network.rbac.v3.RBAC")
Rbac = message_class("envoy.config.rbac.v3.RBAC")

HTTP_RBAC_FILTER = "envoy.filters.http.rbac"
NETWORK_RBAC_FILTER = "envoy.filters.network.rbac"
NETWORK_STAT_PREFIX = "tcp."


class Action(Enum):
    """What a filter does with what matches, as Envoy's RBAC names it."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    LOG = "LOG"


_SHADOW_PREFIXES = {Action.ALLOW: "istio_dry_run_allow_", Action.DENY: "istio_dry_run_deny_", Action.LOG: ""}
"""What statistics and metadata of shadow rules begin with; where there are none it is that of ALLOW, as in Istio."""


def build_rules(
    policies: Iterable[Policy], action: Action, trust_domains: Sequence[str], *, tcp: bool, prefix: str = ""
) -> EnvoyMessage:
    """Return the rules of policies; `prefix` goes before their names."""
    rules = Rbac(action=action.value)
    for policy in policies:
        builder = RuleBuilder(policy.namespace, trust_domains, allows=action is Action.ALLOW, tcp=tcp)
        name = f"{prefix}ns[{policy.namespace}]-policy[{policy.name}]-rule"
        if not policy.rules:
            rules.policies[f"{name}[0]"].CopyFrom(NEVER_MATCHES)
        for number, rule in enumerate(policy.rules):
            built = builder.build(rule)
            if built is not None:
                rules.policies[f"{name}[{number}]"].CopyFrom(built)
    return rules


def build_rbac(
    policies: Sequence[Policy], action: Action, trust_domains: Sequence[str], *, tcp: bool
) -> list[tuple[str, EnvoyMessage]]:
    """Return the filter of policies as (name, configuration), none without policies."""
    if not policies:
        return []
    enforced = [policy for policy in policies if not policy.dry_run]
    watched = [policy for policy in policies if policy.dry_run]
    shadow = build_rules(watched, action, trust_domains, tcp=tcp) if watched else None
    config = (NetworkRbac if tcp else HttpRbac)(
        rules=build_rules(enforced, action, trust_domains, tcp=tcp) if enforced else None,
        shadow_rules=shadow,
        shadow_rules_stat_prefix=_SHADOW_PREFIXES[Action.ALLOW if shadow is None else action],
    )
    return [_name(config, tcp=tcp)]


def build_refusal(rules: EnvoyMessage, *, tcp: bool) -> tuple[str, EnvoyMessage]:
    """Return the filter that refuses what rules match."""
    return _name((NetworkRbac if tcp else HttpRbac)(rules=rules), tcp=tcp)


def build_marker(rules: EnvoyMessage, prefix: str, *, tcp: bool) -> tuple[str, EnvoyMessage]:
    """Return the filter that only leaves in the metadata, under a prefix, which rule matches."""
    config = (NetworkRbac if tcp else HttpRbac)(shadow_rules=rules, shadow_rules_stat_prefix=prefix)
    return _name(config, tcp=tcp)


def _name(config: EnvoyMessage, *, tcp: bool) -> tuple[str, EnvoyMessage]:
    if tcp:
        config.stat_prefix = NETWORK_STAT_PREFIX
    return (NETWORK_RBAC_FILTER if tcp else HTTP_RBAC_FILTER), config
