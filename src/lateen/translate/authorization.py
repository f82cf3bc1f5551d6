"""The rules of AuthorizationPolicies as Envoy's policies.

rule of a policy -> `envoy.config.rbac.v3.Policy`, or None when nothing is left of it.

A rule is (one of `from`) and (one of `to`) and all of `when`; conditions on the source become principals, those on the
destination permissions. What cannot be compared, because a value is broken or asks HTTP of a connection that is not:

| action | then |
| --- | --- |
| ALLOW | the rule allows nothing |
| DENY, AUDIT, CUSTOM | the condition counts as fulfilled, and the rest of the rule decides |

so that a doubt never opens a door. Principals of the mesh's trust domain stand for its aliases as well.
Source: Istio's pilot/pkg/security/authz/model and trustdomain; SEMANTICS 1.6.
We differ: Istio leaves out a DENY rule with an unknown `when` key, and the broken ones among several values; names in
expressions are quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lateen.api.security import Condition, Operation, Rule, Source
from lateen.envoy.messages import EnvoyMessage, message_class
from lateen.translate.authorization_claims import (
    build_claim_principal,
    build_envoy_metadata,
    build_request_principals,
    parse_brackets,
)
from lateen.translate.authorization_match import (
    BrokenValue,
    Matcher,
    build_addresses,
    build_header,
    build_namespace,
    build_path,
    build_principal_name,
    build_service_account,
    build_string,
    build_trust_domain,
    parse_port,
)
from lateen.translate.trust_domain import list_aliases, list_domain_aliases

RbacPolicy = message_class("envoy.config.rbac.v3.Policy")

NEVER_MATCHES = RbacPolicy(permissions=[{"not_rule": {"any": True}}], principals=[{"not_id": {"any": True}}])
"""Stands for a policy without rules."""

Values = tuple[str, ...]
_Build = Callable[[str], Matcher]
_Attribute = tuple[Values, Values, Callable[[Values], Matcher], bool]
"""(values, values that must not match, how to build them, whether only requests have it)."""


class RuleBuilder:
    """Builds the rules of one policy for connections or requests."""

    def __init__(self, namespace: str, trust_domains: Sequence[str], *, allows: bool, tcp: bool) -> None:
        """`allows` says that a match opens the door; `tcp` that connections are matched and not requests."""
        self._namespace = namespace
        self._trust_domains = tuple(trust_domains)
        self._allows = allows
        self._tcp = tcp

    def build(self, rule: Rule) -> EnvoyMessage | None:
        """Return the policy of a rule."""
        try:
            conditions = [(self._list_condition(one), one) for one in rule.when]
            common_ids = [attribute for (name, attribute), _ in conditions if name == "principal"]
            common_rules = [attribute for (name, attribute), _ in conditions if name == "permission"]
            sources = [self._list_source(one.source) for one in rule.from_] or [[]]
            operations = [self._list_operation(one.operation) for one in rule.to] or [[]]
            return RbacPolicy(
                permissions=[self._build_all([*one, *common_rules], "rule") for one in operations],
                principals=[self._build_all([*one, *common_ids], "id") for one in sources],
            )
        except BrokenValue:
            return None

    def _build_all(self, attributes: Sequence[_Attribute], kind: str) -> Matcher:
        """Return the conjunction of attributes as permission (`rule`) or principal (`id`)."""
        found: list[Matcher] = []
        for values, not_values, build, http_only in attributes:
            for wanted, listed in ((True, values), (False, not_values)):
                if not listed:
                    continue
                try:
                    if self._tcp and http_only:
                        raise BrokenValue(listed[0])
                    matcher = build(listed)
                except BrokenValue:
                    if self._allows:
                        raise
                    continue
                found.append(matcher if wanted else {f"not_{kind}": matcher})
        return {f"and_{kind}s": {f"{kind}s": found or [{"any": True}]}}

    def _list_source(self, source: Source | None) -> list[_Attribute]:
        if source is None:
            return []
        return [
            (source.principals, source.not_principals, self._build_principals, False),
            (source.request_principals, source.not_request_principals, build_request_principals, True),
            (source.service_accounts, source.not_service_accounts, self._build_service_accounts, False),
            (source.trust_domains, source.not_trust_domains, self._build_trust_domains, False),
            (source.namespaces, source.not_namespaces, _build_namespaces, False),
            (source.remote_ip_blocks, source.not_remote_ip_blocks, _any_id("remote_ip", build_addresses), False),
            (source.ip_blocks, source.not_ip_blocks, _any_id("direct_remote_ip", build_addresses), False),
        ]

    def _list_operation(self, operation: Operation | None) -> list[_Attribute]:
        if operation is None:
            return []
        return [
            (operation.hosts, operation.not_hosts, _build_hosts, True),
            (operation.methods, operation.not_methods, _build_methods, True),
            (operation.paths, operation.not_paths, _any_rule(build_path), True),
            (operation.ports, operation.not_ports, _build_ports, False),
        ]

    def _list_condition(self, condition: Condition) -> tuple[str, _Attribute]:
        """Return whether a condition is on the principal or a permission, and what it asks for."""
        key, values, not_values = condition.key, condition.values, condition.not_values
        if self._allows and not values and not not_values:
            raise BrokenValue(key)
        if key in _PERMISSION_KEYS:
            return "permission", (values, not_values, _PERMISSION_KEYS[key], False)
        if key.startswith(_ENVOY_KEY):
            return "permission", (values, not_values, build_envoy_metadata(key), False)
        named: dict[str, tuple[Callable[[Values], Matcher], bool]] = {
            "source.ip": (_any_id("direct_remote_ip", build_addresses), False),
            "remote.ip": (_any_id("remote_ip", build_addresses), False),
            "source.namespace": (_build_namespaces, False),
            "source.serviceAccount": (self._build_service_accounts, False),
            "source.principal": (self._build_principals, False),
            "request.auth.principal": (build_request_principals, True),
            "request.auth.audiences": (build_claim_principal(("aud",)), True),
            "request.auth.presenter": (build_claim_principal(("azp",)), True),
        }
        if key in named:
            build, http_only = named[key]
        elif key.startswith("request.headers"):
            build, http_only = _build_headers(key), True
        elif key.startswith("request.auth.claims"):
            build, http_only = build_claim_principal(parse_brackets(key)), True
        elif self._allows:
            raise BrokenValue(key)
        else:
            build, http_only = _refuse, False
        return "principal", (values, not_values, build, http_only)

    def _build_principals(self, values: Values) -> Matcher:
        return _any_identity(build_principal_name)(list_aliases(values, self._trust_domains))

    def _build_trust_domains(self, values: Values) -> Matcher:
        return _any_identity(build_trust_domain)(list_domain_aliases(values, self._trust_domains))

    def _build_service_accounts(self, values: Values) -> Matcher:
        return _any_identity(lambda value: build_service_account(value, self._namespace))(values)


def _any_id(field: str, build: _Build) -> Callable[[Values], Matcher]:
    return lambda values: {"or_ids": {"ids": [{field: build(value)} for value in values]}}


def _any_identity(build: _Build) -> Callable[[Values], Matcher]:
    return _any_id("authenticated", lambda value: {"principal_name": build(value)})


def _any_rule(build: _Build) -> Callable[[Values], Matcher]:
    return lambda values: {"or_rules": {"rules": [build(value) for value in values]}}


def _build_headers(key: str) -> Callable[[Values], Matcher]:
    path = parse_brackets(key)
    name = path[0] if len(path) == 1 else ""
    return _any_id("header", lambda value: build_header(name, value))


def _refuse(values: Values) -> Matcher:
    """Build what has no meaning."""
    raise BrokenValue(values[0])


_build_namespaces = _any_identity(build_namespace)
_build_hosts = _any_rule(lambda value: {"header": build_header(":authority", value, ignore_case=True)})
_build_methods = _any_rule(lambda value: {"header": build_header(":method", value)})
_build_ports = _any_rule(lambda value: {"destination_port": parse_port(value)})

_PERMISSION_KEYS: dict[str, Callable[[Values], Matcher]] = {
    "destination.ip": _any_rule(lambda value: {"destination_ip": build_addresses(value)}),
    "destination.port": _build_ports,
    "connection.sni": _any_rule(lambda value: {"requested_server_name": build_string(value)}),
}
_ENVOY_KEY = "experimental.envoy.filters."
