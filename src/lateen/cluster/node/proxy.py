"""The mesh's containers of a pod: `istio-init` becomes nft rules, `istio-proxy` the pinned Envoy with the node's agent.

Flow: pod + sandbox -> token and root certificate on disk, a listener on 15020 inside the pod, registration with the
agent -> bootstrap -> start request for Envoy.
Invariants: the token for the mesh's certificates is bound to this pod, lies in the runtime directory (0600) and is
mounted nowhere: the agent reads it; Envoy gets the agent's socket for this pod and nothing else.
Source: Istio's injection template and pilot-agent; `lateen.runtime.agent_control`. We differ: the image's own program
and arguments are not run, whatever its tag.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from lateen.api.container import Container, ExecAction, HttpGetAction, LifecycleHandler, Probe
from lateen.api.objects import JsonObject
from lateen.api.pod import Pod
from lateen.base.durations import parse_duration
from lateen.base.errors import LateenError
from lateen.cluster.images import SEARCH_PATH, Image, Program, is_proxy
from lateen.cluster.images import build_command as build_sample_command
from lateen.cluster.network.interception import Interception, build_rules, parse_interception
from lateen.cluster.node.environment import ConfigSource
from lateen.cluster.node.fields import NODE_NAME, ConfigError
from lateen.cluster.node.sandbox import Sandbox
from lateen.cluster.node.sync import is_sidecar
from lateen.cluster.node.volume_files import File
from lateen.cluster.node.volumes import RENEW_AT, TokenIssuer, write_atomically
from lateen.cluster.sandbox.channel import Message
from lateen.cluster.sandbox.kernel import CAP_NET_ADMIN
from lateen.envoy.binary import find_envoy
from lateen.envoy.bootstrap import AGENT_STATUS_PORT, READINESS_PORT, ProxyIdentity, build_bootstrap
from lateen.envoy.process import build_command
from lateen.runtime.agent_client import AgentClient
from lateen.runtime.agent_control import AddPod

CAPABILITIES = (CAP_NET_ADMIN,)
STARTUP_PERIOD = timedelta(milliseconds=50)
ROOT_CONFIG_MAP, ROOT_KEY = "istio-ca-root-cert", "root-cert.pem"
TOKEN_AUDIENCE = "istio-ca"
TOKEN_SECONDS = 43200  # as Istio's injection template
_ENVOY = "/usr/local/bin/envoy"
_BOOTSTRAP = "/etc/istio/proxy/bootstrap.json"
_SOCKET = "/var/run/lateen/ads.sock"
_PROBERS = "ISTIO_KUBE_APP_PROBERS"
_CERTIFICATE_LIFETIME = "SECRET_TTL"
_COMMANDS = {"curl": build_sample_command("curl"), "pilot-agent": build_sample_command("pilot_agent")}


_FAREWELL = "pilot-agent request --debug-port=15020 POST drain && sleep 5"
"""5 s is Istio's terminationDrainDuration."""


def is_rule_installer(pod: Pod, container: Container) -> bool:
    """Whether the container is one that sets up interception and ends (`istio-init`, `istio-validation`)."""
    return is_proxy(container.image) and container in pod.spec.init_containers and not is_sidecar(container)


def find_interception(pod: Pod, container: Container) -> Interception:
    """Return what this rule installer intercepts."""
    return parse_interception((*container.command, *container.args), pod.metadata.annotations)


async def install_rules(sandbox: Sandbox, interception: Interception) -> None:
    """Put the rules into the pod's network namespace; raises SandboxError."""
    await sandbox.apply_rules(build_rules(interception))


def find_farewell(pod: Pod, container: Container) -> LifecycleHandler | None:
    """Return what a gateway does before it ends, as Istio's agent does: it has its clients close their connections."""
    if not all(is_proxy(each.image) for each in pod.spec.containers) or container not in pod.spec.containers:
        return None
    return LifecycleHandler(exec=ExecAction(command=("sh", "-c", _FAREWELL)))


def with_probes(container: Container) -> Container:
    """Return Envoy's container with the probes that Istio's injector gives it, where the pod has none."""
    if container.startup_probe is not None or container.readiness_probe is not None:
        return container
    ask = HttpGetAction(path="/healthz/ready", port=READINESS_PORT)
    return msgspec.structs.replace(
        container,
        startup_probe=Probe(http_get=ask, timeout_seconds=3, period_seconds=1, failure_threshold=600),
        readiness_probe=Probe(http_get=ask, timeout_seconds=3, period_seconds=15, failure_threshold=4),
    )


class PodProxy:
    """Envoy of one pod: its files and its registration."""

    def __init__(
        self,
        pod: Pod,
        address: str,
        sandbox: Sandbox,
        source: ConfigSource,
        issue: TokenIssuer,
        agent: AgentClient | None,
        directory: Path,
    ) -> None:
        """`directory` is the pod's in the runtime directory."""
        self._pod = pod
        self._address = address
        self._sandbox = sandbox
        self._source = source
        self._issue = issue
        self._agent = agent
        self._credentials = directory / "credentials"
        self._sockets = directory / "ads"
        self._configuration = directory / "proxy"
        self._root = b""
        self.renew_at: datetime | None = None
        self._registered = False

    async def register(self, container: Container) -> None:
        """Return when the agent serves this pod; raises ConfigError while the root certificate is missing."""
        if self._registered:
            return
        if self._agent is None:
            raise ConfigError("this cluster runs no agent, which istio-proxy needs")
        await self.refresh()
        self._sockets.mkdir(parents=True, exist_ok=True, mode=0o700)
        metadata = self._pod.metadata
        listener = await self._sandbox.listen("0.0.0.0", AGENT_STATUS_PORT)
        try:
            await self._agent.add_pod(
                AddPod(
                    uid=metadata.uid,
                    name=metadata.name,
                    namespace=metadata.namespace,
                    ip=self._address,
                    service_account=self._service_account,
                    ads_socket=str(self._sockets / "ads.sock"),
                    token_file=str(self._credentials / "istio-token"),
                    root_cert_file=str(self._credentials / ROOT_KEY),
                    node_name=NODE_NAME,
                    labels=dict(metadata.labels),
                    annotations=dict(metadata.annotations),
                    probes=_find_probes(container),
                    proxy_type=_find_type(container),
                    certificate_seconds=_find_certificate_seconds(container),
                ),
                listener,
            )
        finally:
            listener.close()
        self._registered = True

    @property
    def _service_account(self) -> str:
        return self._pod.spec.service_account_name or "default"

    async def refresh(self) -> None:
        """Write token and root certificate afresh; raises ConfigError while there is no root certificate."""
        found = self._source.config_map(ROOT_CONFIG_MAP)
        root = found.data.get(ROOT_KEY, "").encode() if found is not None else b""
        if not root:
            raise ConfigError(f'configmap "{ROOT_CONFIG_MAP}" not found')
        token, expires = await self._issue(TOKEN_AUDIENCE, TOKEN_SECONDS)
        files = {"istio-token": File(token.encode(), 0o600), ROOT_KEY: File(root, 0o600)}
        write_atomically(self._credentials, files)
        self._root = root
        self.renew_at = expires - timedelta(seconds=TOKEN_SECONDS * (1 - RENEW_AT))

    @property
    def stale(self) -> bool:
        """Whether the root certificate on disk is no longer the namespace's."""
        found = self._source.config_map(ROOT_CONFIG_MAP)
        return self._registered and found is not None and found.data.get(ROOT_KEY, "").encode() != self._root

    async def remove(self) -> None:
        """Have the agent forget the pod."""
        if self._agent is not None and self._registered:
            self._registered = False
            await self._agent.remove_pod(self._pod.metadata.uid)

    def build_program(self, container: Container) -> Program:
        """Write the bootstrap and return Envoy's command line."""
        self._configuration.mkdir(parents=True, exist_ok=True, mode=0o700)
        document = build_bootstrap(self._build_identity(container), _SOCKET)
        (self._configuration / "bootstrap.json").write_text(json.dumps(document))
        concurrency = _find_flag(container.args, "--concurrency")
        command = build_command(
            _BOOTSTRAP, executable=_ENVOY, concurrency=int(concurrency) if concurrency.isdigit() else 2
        )
        return Program(command, Image(environment={"PATH": SEARCH_PATH}, commands=_COMMANDS))

    @property
    def binds(self) -> list[Message]:
        """What Envoy sees besides its root: itself, its bootstrap, the agent's socket."""
        return [
            {"source": str(find_envoy()), "target": _ENVOY, "read_only": True},
            {"source": str(self._configuration), "target": str(Path(_BOOTSTRAP).parent), "read_only": True},
            {"source": str(self._sockets), "target": str(Path(_SOCKET).parent), "read_only": False},
        ]

    def _build_identity(self, container: Container) -> ProxyIdentity:
        metadata = self._pod.metadata
        owner = next((o for o in metadata.owner_references if o.controller), None)
        ports: tuple[Mapping[str, Any], ...] = tuple(
            {"name": port.name, "containerPort": port.container_port, "protocol": port.protocol}
            for each in self._pod.spec.containers
            for port in each.ports
        )
        return ProxyIdentity(
            name=metadata.name,
            namespace=metadata.namespace,
            ip=self._address,
            proxy_type=_find_type(container),
            service_account=self._service_account,
            labels=metadata.labels,
            annotations=metadata.annotations,
            workload_name=owner.name if owner else metadata.name,
            owner=_format_owner(metadata.namespace, owner.api_version, owner.kind, owner.name) if owner else "",
            node_name=NODE_NAME,
            app_containers=tuple(each.name for each in self._pod.spec.containers if not is_proxy(each.image)),
            pod_ports=ports,
        )


def _format_owner(namespace: str, api_version: str, kind: str, name: str) -> str:
    return f"kubernetes://apis/{api_version}/namespaces/{namespace}/{kind.lower()}s/{name}"


def _find_type(container: Container) -> str:
    """Return `router` for a gateway's proxy, `sidecar` otherwise."""
    return "router" if "router" in container.args else "sidecar"


def _find_flag(arguments: tuple[str, ...], flag: str) -> str:
    for word, following in pairwise((*arguments, "")):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return ""


def _find_probes(container: Container) -> dict[str, JsonObject]:
    """Return the app's probes that an injector rewrote to the agent: path on 15020 -> probe."""
    text = _find_variable(container, _PROBERS)
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        raise ConfigError(f"{_PROBERS} of container {container.name} is not JSON") from None
    return found if isinstance(found, dict) else {}


def _find_certificate_seconds(container: Container) -> float:
    """Return the lifetime of certificates that the container asks for, as for Istio's agent; 0 for the usual one."""
    text = _find_variable(container, _CERTIFICATE_LIFETIME)
    try:
        return parse_duration(text).total_seconds() if text else 0.0
    except LateenError as error:
        raise ConfigError(f"{_CERTIFICATE_LIFETIME} of container {container.name}: {error.message}") from None


def _find_variable(container: Container, name: str) -> str:
    return next((variable.value for variable in container.env if variable.name == name), "")
