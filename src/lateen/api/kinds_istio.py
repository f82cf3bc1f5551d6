"""Istio's kinds, and the Gateway API kinds that Istio's samples use.

Groups, served versions, short names, categories and printer columns are Istio's own, so that its users'
commands and scripts keep working. `translated` is False for a kind that is stored and validated but does
not change Envoy's configuration yet: admission warns about it.
Source: the CRDs of Istio 1.32-dev and of Gateway API 1.4. Where we differ: Telemetry is stored as v1
(Istio stores v1alpha1; both are served by both).
"""

from lateen.api.kinds import AGE, Column, Kind

NETWORKING = "networking.istio.io"
SECURITY = "security.istio.io"
TELEMETRY = "telemetry.istio.io"
EXTENSIONS = "extensions.istio.io"
GATEWAY = "gateway.networking.k8s.io"

_TRANSLATED = frozenset(
    {"AuthorizationPolicy", "DestinationRule", "Gateway", "PeerAuthentication", "ServiceEntry", "VirtualService"}
)


def _column(name: str, json_path: str) -> Column:
    return Column(name=name, type="string", json_path=json_path)


_ADDRESS = _column("Address", ".spec.address")
_HOSTS = _column("Hosts", ".spec.hosts")
_SERVICE_ENTRY = (
    _HOSTS,
    _column("Location", ".spec.location"),
    _column("Resolution", ".spec.resolution"),
    AGE,
)


def _schema_name(group: str, version: str, kind: str) -> str:
    return ".".join((*reversed(group.split(".")), version, kind))


def _build(
    group: str,
    kind: str,
    plural: str,
    short_names: tuple[str, ...] = (),
    *,
    versions: tuple[str, ...] = ("v1", "v1beta1", "v1alpha3"),
    columns: tuple[Column, ...] = (),
) -> Kind:
    return Kind(
        group=group,
        version=versions[0],
        served_versions=versions,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        short_names=short_names,
        categories=("istio-io", group.replace(".", "-")),
        columns=columns,
        subresources=frozenset({"status"}),
        builtin=False,
        schema_name=_schema_name(group, versions[0], kind),
        translated=kind in _TRANSLATED,
    )


ISTIO: tuple[Kind, ...] = (
    _build(
        NETWORKING,
        "DestinationRule",
        "destinationrules",
        ("dr",),
        columns=(_column("Host", ".spec.host"), AGE),
    ),
    _build(NETWORKING, "EnvoyFilter", "envoyfilters", versions=("v1alpha3",)),
    _build(NETWORKING, "Gateway", "gateways", ("gw",)),
    _build(NETWORKING, "ProxyConfig", "proxyconfigs", versions=("v1beta1",)),
    _build(NETWORKING, "ServiceEntry", "serviceentries", ("se",), columns=_SERVICE_ENTRY),
    _build(NETWORKING, "Sidecar", "sidecars"),
    _build(
        NETWORKING,
        "VirtualService",
        "virtualservices",
        ("vs",),
        columns=(_column("Gateways", ".spec.gateways"), _HOSTS, AGE),
    ),
    _build(NETWORKING, "WorkloadEntry", "workloadentries", ("we",), columns=(AGE, _ADDRESS)),
    _build(NETWORKING, "WorkloadGroup", "workloadgroups", ("wg",), columns=(AGE,)),
    _build(
        SECURITY,
        "AuthorizationPolicy",
        "authorizationpolicies",
        ("ap",),
        versions=("v1", "v1beta1"),
        columns=(_column("Action", ".spec.action"), AGE),
    ),
    _build(
        SECURITY,
        "PeerAuthentication",
        "peerauthentications",
        ("pa",),
        versions=("v1", "v1beta1"),
        columns=(_column("Mode", ".spec.mtls.mode"), AGE),
    ),
    _build(SECURITY, "RequestAuthentication", "requestauthentications", ("ra",), versions=("v1", "v1beta1")),
    _build(TELEMETRY, "Telemetry", "telemetries", ("telemetry",), versions=("v1", "v1alpha1"), columns=(AGE,)),
    _build(EXTENSIONS, "TrafficExtension", "trafficextensions", versions=("v1alpha1",), columns=(AGE,)),
    _build(EXTENSIONS, "WasmPlugin", "wasmplugins", versions=("v1alpha1",), columns=(AGE,)),
)
"""Every Istio kind; `crds.build_crd` makes the CustomResourceDefinition of each."""


def _gateway_api(
    kind: str,
    plural: str,
    short_names: tuple[str, ...] = (),
    *,
    versions: tuple[str, ...] = ("v1",),
    columns: tuple[Column, ...] = (AGE,),
    namespaced: bool = True,
) -> Kind:
    return Kind(
        group=GATEWAY,
        version=versions[0],
        served_versions=versions,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        short_names=short_names,
        namespaced=namespaced,
        categories=("gateway-api",),
        columns=columns,
        subresources=frozenset({"status"}),
        builtin=False,
        schema_name=_schema_name(GATEWAY, versions[0], kind),
        translated=False,
    )


_HOSTNAMES = _column("Hostnames", ".spec.hostnames")
_PROGRAMMED = _column("Programmed", '.status.conditions[?(@.type=="Programmed")].status')
_ACCEPTED = _column("Accepted", '.status.conditions[?(@.type=="Accepted")].status')

GATEWAY_API: tuple[Kind, ...] = (
    _gateway_api(
        "GatewayClass",
        "gatewayclasses",
        ("gc",),
        versions=("v1", "v1beta1"),
        columns=(_column("Controller", ".spec.controllerName"), _ACCEPTED, AGE),
        namespaced=False,
    ),
    _gateway_api(
        "Gateway",
        "gateways",
        ("gtw",),
        versions=("v1", "v1beta1"),
        columns=(
            _column("Class", ".spec.gatewayClassName"),
            _column("Address", ".status.addresses[*].value"),
            _PROGRAMMED,
            AGE,
        ),
    ),
    _gateway_api("HTTPRoute", "httproutes", versions=("v1", "v1beta1"), columns=(_HOSTNAMES, AGE)),
    _gateway_api("GRPCRoute", "grpcroutes", columns=(_HOSTNAMES, AGE)),
    _gateway_api("ReferenceGrant", "referencegrants", ("refgrant",), versions=("v1beta1",)),
    _gateway_api("TCPRoute", "tcproutes", versions=("v1alpha2",)),
    _gateway_api("TLSRoute", "tlsroutes", versions=("v1alpha2",)),
)
"""Gateway API kinds, stored as they come: their schema is open and they have no effect yet."""
