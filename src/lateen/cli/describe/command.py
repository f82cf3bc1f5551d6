"""`lateen describe pod|service`: ports, the rules in effect by the proxy's own account, mTLS, where it is exposed.

Objects from the API server, configuration from the Envoys in the pod and in the ingress gateways -> text.
Source: `istioctl experimental describe`.
"""

from __future__ import annotations

from pathlib import Path

import click

from lateen.api.objects import JsonObject
from lateen.base.errors import LateenError, NotFoundError
from lateen.base.labels import matches
from lateen.cli.aliases import AliasGroup, combine
from lateen.cli.describe.effective import Reference, find_destination_rule, find_virtual_services
from lateen.cli.describe.policy import (
    Subsets,
    describe_destination_rule,
    describe_peer_authentication,
    describe_virtual_service,
    find_subsets,
    indent,
)
from lateen.cli.describe.workload import describe_pod, describe_service
from lateen.cli.proxy_config.bootstrap import format_envoy_version
from lateen.cli.proxy_config.dump import ConfigDump, parse_json
from lateen.cli.proxy_config.source import PROXY_CONTAINER, ask_envoy, has_proxy
from lateen.cli.session import Session, namespace_options, run_session
from lateen.cli.target import find_object, find_pod, find_pods

_LINE = "--------------------"
_ROOT_NAMESPACE = "istio-system"
_GATEWAYS = "istio=ingressgateway"
_WORDS = {"destinationrules": "destination rule", "virtualservices": "virtual service"}


class Description:
    """Gathers what concerns one pod, or one service."""

    def __init__(self, session: Session, namespace: str, *, quiet: bool) -> None:
        self._session, self._namespace, self._quiet = session, namespace, quiet

    async def pod(self, pod: JsonObject) -> list[str]:
        """The pod, its services, its mTLS mode, its ways in."""
        labels = pod["metadata"].get("labels", {})
        scope = pod["metadata"]["namespace"]
        dump = await self._read_dump(pod)
        proxy = _describe_proxy(pod, dump) if dump else ""
        lines = describe_pod(pod, self._namespace, proxy)
        if self._quiet:
            lines = [line for line in lines if "not part of mesh" not in line]
        listed = await self._list("services", scope)
        services = [
            each for each in listed if each["spec"].get("selector") and matches(each["spec"]["selector"], labels)
        ]
        if not services and not self._quiet:
            lines.append(f"Warning: No Kubernetes Services select pod {pod['metadata']['name']}")
        lines += await self.services(services, [pod], dump)
        policies = [*await self._list("peerauthentications", scope)]
        if scope != _ROOT_NAMESPACE:
            policies += await self._list("peerauthentications", _ROOT_NAMESPACE)
        return [*lines, _LINE, *describe_peer_authentication(policies, labels, scope, _ROOT_NAMESPACE)]

    async def service(self, service: JsonObject) -> list[str]:
        """The service as the first of its pods that has a proxy sees it."""
        name = service["metadata"]["name"]
        try:
            pods = await find_pods(self._session, f"service/{name}", service["metadata"]["namespace"])
        except NotFoundError:
            return [f'Service "{name}" has no pods.']
        meshed = [pod for pod in pods if has_proxy(pod) and pod.get("status", {}).get("phase") == "Running"]
        if not meshed:
            return [
                f'Service "{name}" has no Istio pods.  ({len(pods)} pods in service).',
                "Label the namespace with istio-injection=enabled and restart them, or use `lateen kube-inject`.",
            ]
        lines = await self.services([service], meshed, await self._read_dump(meshed[0]))
        return lines[1:]

    async def services(self, services: list[JsonObject], pods: list[JsonObject], dump: ConfigDump | None) -> list[str]:
        """Each service with the rules that the proxy applies to it, and its ways in."""
        lines: list[str] = []
        labels = [pod["metadata"].get("labels", {}) for pod in pods]
        gateways = await self._read_gateways() if services else []
        for service in services:
            lines += [_LINE, *describe_service(service, pods[0], self._namespace)]
            metadata, ports = service["metadata"], service["spec"].get("ports", [])
            host = f"{metadata['name']}.{metadata['namespace']}.svc.cluster.local"
            exposed: list[str] = []
            for port in ports:
                subsets = Subsets()
                found: list[str] = []
                if dump is not None:
                    subsets, found = await self._describe_rules(dump, host, port["port"], labels)
                lines += [f"{port['port']}:", *indent(found)] if len(ports) > 1 and found else found
                exposed += await self._describe_exposure(gateways, host, port["port"], subsets)
            lines += exposed
        return lines

    async def _describe_rules(
        self, dump: ConfigDump, host: str, port: int, labels: list[dict[str, str]]
    ) -> tuple[Subsets, list[str]]:
        lines: list[str] = []
        subsets = Subsets()
        if reference := find_destination_rule(dump, host, port):
            rule = await self._find("destinationrules", reference, lines)
            if rule is not None:
                subsets = find_subsets(rule, labels, self._namespace)
                lines += describe_destination_rule(rule, labels, self._namespace)
        for reference in find_virtual_services(dump, host, port):
            service = await self._find("virtualservices", reference, lines)
            if service is not None:
                lines += describe_virtual_service(service, host, subsets, self._namespace)
        return subsets, lines

    async def _describe_exposure(
        self, gateways: list[tuple[str, ConfigDump]], host: str, port: int, subsets: Subsets
    ) -> list[str]:
        lines: list[str] = []
        for address, dump in gateways:
            for reference in find_virtual_services(dump, host, port):
                service = await self._find("virtualservices", reference, lines)
                if service is not None:
                    lines += [_LINE, f"Exposed on Ingress Gateway {address}"]
                    lines += describe_virtual_service(service, host, subsets, self._namespace)
        return lines

    async def _read_gateways(self) -> list[tuple[str, ConfigDump]]:
        """(address, configuration) of each ingress gateway that runs."""
        pods = await self._session.client.list(await self._session.find_word("pods"), "", label_selector=_GATEWAYS)
        found = []
        for pod in pods.items:
            if not has_proxy(pod) or pod.get("status", {}).get("phase") != "Running":
                continue
            dump = await self._read_dump(pod)
            if dump is not None:
                found.append((await self._find_address(pod), dump))
        return found

    async def _find_address(self, pod: JsonObject) -> str:
        """`http://ADDRESS` of the gateway's Service, by its load balancer, else its node port, else the pod's."""
        labels = pod["metadata"].get("labels", {})
        for service in await self._list("services", pod["metadata"]["namespace"]):
            if not matches(service["spec"].get("selector") or {"": ""}, labels):
                continue
            port = next((each for each in service["spec"]["ports"] if each["port"] == 80), service["spec"]["ports"][0])
            given = service.get("status", {}).get("loadBalancer", {}).get("ingress", [])
            address = (
                next((each.get("ip") or each.get("hostname") for each in given), "") or service["spec"]["clusterIP"]
            )
            node_port = f", node port {port['nodePort']}" if "nodePort" in port else ""
            return f"http://{address}" + (f":{port['port']}" if port["port"] != 80 else "") + node_port
        return f"http://{pod['status'].get('podIP', '')}"

    async def _read_dump(self, pod: JsonObject) -> ConfigDump | None:
        if not has_proxy(pod) or pod.get("status", {}).get("phase") != "Running":
            return None
        try:
            return ConfigDump(parse_json(await ask_envoy(self._session, pod, "GET", "config_dump"), "the dump"))
        except LateenError as error:
            click.echo(f"Warning: {error.message}", err=True)
            return None

    async def _list(self, word: str, namespace: str) -> list[JsonObject]:
        return (await self._session.client.list(await self._session.find_word(word), namespace)).items

    async def _find(self, word: str, reference: Reference, lines: list[str]) -> JsonObject | None:
        kind = await self._session.find_word(f"{word}.networking.istio.io")
        try:
            return await self._session.client.get(kind, reference.namespace, reference.name)
        except NotFoundError:
            name = f"{reference.name}.{reference.namespace}"
            lines.append(f"WARNING: Proxy is stale; it references to non-existent {_WORDS[word]} {name}")
            return None


def _describe_proxy(pod: JsonObject, dump: ConfigDump) -> str:
    node = dump.section("BootstrapConfigDump").get("bootstrap", {}).get("node", {})
    spec = pod["spec"]
    image = next(
        (
            each["image"]
            for each in (*spec.get("initContainers", ()), *spec["containers"])
            if each["name"] == PROXY_CONTAINER
        ),
        "",
    )
    version = format_envoy_version(node.get("userAgentBuildVersion", {})).partition("/")[0]
    follows = node.get("metadata", {}).get("ISTIO_VERSION", "")
    return f"Envoy {version} as Istio {follows} configures it (for image {image})"


@click.group(cls=AliasGroup, aliases={"svc": "service", "po": "pod"})
def describe() -> None:
    """Tell what concerns a pod or a service: ports, rules, mTLS, where it is exposed."""


_options = combine(
    click.argument("name", metavar="NAME[.NAMESPACE]"),
    click.option("--ignoreUnmeshed", "quiet", is_flag=True, help="No warnings for pods without a proxy."),
    namespace_options,
)


@describe.command("pod")
@_options
def describe_pod_(*, name: str, quiet: bool, namespace: str | None, kubeconfig: Path | None) -> None:
    """Describe a pod, or the pod of deploy/NAME."""

    async def work(session: Session) -> list[str]:
        pod = await find_pod(session, name, namespace)
        return await Description(session, namespace or session.namespace, quiet=quiet).pod(pod)

    click.echo("\n".join(run_session(kubeconfig, work)))


@describe.command("service")
@_options
def describe_service_(*, name: str, quiet: bool, namespace: str | None, kubeconfig: Path | None) -> None:
    """Describe a service."""

    async def work(session: Session) -> list[str]:
        service = await find_object(session, "services", name, namespace)
        return await Description(session, namespace or session.namespace, quiet=quiet).service(service)

    click.echo("\n".join(run_session(kubeconfig, work)))
