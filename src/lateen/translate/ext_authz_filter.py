"""Envoy's filters that ask an external authorizer: for requests, and for connections.

CUSTOM policies, extension providers -> pairs of filters: one marks what the policies match, one asks about it.

| provider | requests | connections |
| --- | --- | --- |
| HTTP | asked | not asked |
| gRPC | asked | asked |
| broken, unknown, or several for one workload | what the policies match is refused | the same |

Invariants: a provider is broken when its service, with that port, is not one that the workload sees: a cluster that is
not there would make Envoy refuse the listener.
Source: Istio's pilot/pkg/security/authz/builder/extauthz.go; Envoy's http/ext_authz and network/ext_authz protos.
We differ: Istio asks the authorizer for policies in dry run, too, and enforces the answer; here they do nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lateen.api.extension_provider import EnvoyExtAuthzGrpc, EnvoyExtAuthzHttp, ExtAuthzRequestBody, ExtensionProvider
from lateen.base.names import format_cluster_name
from lateen.envoy.messages import EnvoyMessage, message_class
from lateen.mesh.authz import Policy
from lateen.mesh.service import find_port, find_service_by_host
from lateen.mesh.visibility import mesh_settings
from lateen.translate.authorization_match import BrokenValue, Matcher, build_header_names, build_metadata
from lateen.translate.rbac_filter import (
    HTTP_RBAC_FILTER,
    NETWORK_RBAC_FILTER,
    NETWORK_STAT_PREFIX,
    Action,
    build_marker,
    build_refusal,
    build_rules,
)
from lateen.translate.soundness import is_header

if TYPE_CHECKING:
    from lateen.incremental.database import Database

HttpExtAuthz = message_class("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz")
NetworkExtAuthz = message_class("envoy.extensions.filters.network.ext_authz.v3.ExtAuthz")

HTTP_FILTER = "envoy.filters.http.ext_authz"
NETWORK_FILTER = "envoy.filters.network.ext_authz"
_MARK_PREFIX = "istio_ext_authz_"
_RULE_PREFIX = "istio-ext-authz-"
_REFUSED_SUFFIX = "-deny-due-to-bad-CUSTOM-action"
_DEFAULT_TIMEOUT = timedelta(seconds=600)

NamedFilter = tuple[str, EnvoyMessage]


def build_ext_authz(
    db: Database, policies: Sequence[Policy], trust_domains: Sequence[str], viewer: str, *, tcp: bool
) -> list[NamedFilter]:
    """Return the filters of CUSTOM policies as (name, configuration); `viewer` is the workload's namespace."""
    enforced = [policy for policy in policies if not policy.dry_run]
    providers = sorted({policy.provider for policy in enforced})
    filters: list[NamedFilter] = []
    for name in providers:
        own = [policy for policy in enforced if policy.provider == name]
        prefix = f"{_RULE_PREFIX}{name}-" if name else _RULE_PREFIX
        rules = build_rules(own, Action.DENY, trust_domains, tcp=tcp, prefix=prefix)
        try:
            if len(providers) > 1:
                raise BrokenValue(name)
            asking = _build_provider(db, name, viewer, tcp=tcp)
        except BrokenValue:
            filters.append(build_refusal(_rename(rules), tcp=tcp))
            continue
        if asking is not None:
            filters += [build_marker(rules, _MARK_PREFIX, tcp=tcp), asking]
    return filters


def _rename(rules: EnvoyMessage) -> EnvoyMessage:
    renamed = type(rules)(action=rules.action)
    for name, policy in rules.policies.items():
        renamed.policies[name + _REFUSED_SUFFIX].CopyFrom(policy)
    return renamed


def _build_provider(db: Database, name: str, viewer: str, *, tcp: bool) -> NamedFilter | None:
    """Return the filter that asks a provider, None for connections that it cannot be asked about."""
    found = [one for one in mesh_settings(db).authorizers if one.name == name]
    if len(found) != 1 or not name:
        raise BrokenValue(name)
    grpc, http = found[0].envoy_ext_authz_grpc, found[0].envoy_ext_authz_http
    if grpc is not None:
        return _build_grpc(db, found[0], grpc, viewer, tcp=tcp)
    assert http is not None, "an authorizer is reached by HTTP or gRPC"
    built = HttpExtAuthz(
        http_service=_build_http_service(http, *_find_cluster(db, http, viewer)),
        with_request_body=_build_body(http.include_request_body_in_check),
        clear_route_cache=http.clear_route_cache,
        **_build_common(found[0], http, HTTP_RBAC_FILTER),
        **_build_status(http),
    )
    return None if tcp else (HTTP_FILTER, built)


def _build_grpc(
    db: Database, provider: ExtensionProvider, grpc: EnvoyExtAuthzGrpc, viewer: str, *, tcp: bool
) -> NamedFilter:
    host, cluster = _find_cluster(db, grpc, viewer)
    service = {
        "envoy_grpc": {"cluster_name": cluster, "authority": host},
        "timeout": grpc.timeout or _DEFAULT_TIMEOUT,
    }
    status = _build_status(grpc)
    if tcp:
        common = _build_common(provider, grpc, NETWORK_RBAC_FILTER)
        return NETWORK_FILTER, NetworkExtAuthz(stat_prefix=NETWORK_STAT_PREFIX, grpc_service=service, **common)
    built = HttpExtAuthz(
        grpc_service=service,
        with_request_body=_build_body(grpc.include_request_body_in_check),
        clear_route_cache=grpc.clear_route_cache,
        **_build_common(provider, grpc, HTTP_RBAC_FILTER),
        **status,
    )
    return HTTP_FILTER, built


def _build_common(
    provider: ExtensionProvider, config: EnvoyExtAuthzHttp | EnvoyExtAuthzGrpc, marker: str
) -> dict[str, Any]:
    """Return the fields that all filters have: they ask only where the filter before them has left its mark."""
    mark = {"string_match": {"prefix": f"{_RULE_PREFIX}{provider.name}"}}
    return {
        "transport_api_version": "V3",
        "failure_mode_allow": config.fail_open,
        "filter_enabled_metadata": build_metadata(marker, (f"{_MARK_PREFIX}shadow_effective_policy_id",), mark),
    }


def _build_status(config: EnvoyExtAuthzHttp | EnvoyExtAuthzGrpc) -> dict[str, Any]:
    """Return the answer when the authorizer fails."""
    text = config.status_on_error
    if not text:
        return {}
    if not text.isdecimal() or int(text) not in set(HTTPStatus):
        raise BrokenValue(text)
    code_type = HttpExtAuthz.DESCRIPTOR.fields_by_name["status_on_error"].message_type.fields_by_name["code"].enum_type
    if int(text) not in code_type.values_by_number:
        raise BrokenValue(text)
    return {"status_on_error": {"code": int(text)}}


def _build_body(body: ExtAuthzRequestBody | None) -> Matcher | None:
    if body is None:
        return None
    if not body.max_request_bytes:
        raise BrokenValue("maxRequestBytes")
    return {
        "max_request_bytes": body.max_request_bytes,
        "allow_partial_message": body.allow_partial_message,
        "pack_as_bytes": body.pack_as_bytes,
    }


def _build_http_service(http: EnvoyExtAuthzHttp, host: str, cluster: str) -> Matcher:
    if http.path_prefix and not http.path_prefix.startswith("/"):
        raise BrokenValue(http.path_prefix)
    timeout = _DEFAULT_TIMEOUT if http.timeout is None else http.timeout
    service: Matcher = {
        "server_uri": {"uri": f"http://{host}", "cluster": cluster, "timeout": timeout},
        "path_prefix": http.path_prefix,
    }
    added = sorted(http.include_additional_headers_in_check.items())
    if not all(is_header(name, value) for name, value in added):
        raise BrokenValue("includeAdditionalHeadersInCheck")
    included = http.include_request_headers_in_check or http.include_headers_in_check
    if included or added:
        service["authorization_request"] = {
            "allowed_headers": build_header_names(included) if included else None,
            "headers_to_add": [{"key": name, "value": value} for name, value in added],
        }
    answers = {
        "allowed_upstream_headers": http.headers_to_upstream_on_allow,
        "allowed_client_headers": http.headers_to_downstream_on_deny,
        "allowed_client_headers_on_success": http.headers_to_downstream_on_allow,
    }
    if any(answers.values()):
        service["authorization_response"] = {
            name: build_header_names(names) for name, names in answers.items() if names
        }
    return service


def _find_cluster(db: Database, config: EnvoyExtAuthzHttp | EnvoyExtAuthzGrpc, viewer: str) -> tuple[str, str]:
    """Return the host and cluster of a provider, whose service is `HOST` or `NAMESPACE/HOST`."""
    namespace, slash, host = config.service.rpartition("/")
    service = find_service_by_host(db, host, viewer)
    if service is None or (slash and service.ref.namespace != namespace) or find_port(service, config.port) is None:
        raise BrokenValue(config.service)
    return service.host, format_cluster_name("outbound", config.port, "", service.host)
