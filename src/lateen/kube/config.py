"""Where the API server is and who we are to it: kubeconfig files or the pod's service account ->
ClientConfig.

Several files of KUBECONFIG are merged as kubectl does: the first to define a name wins. Relative paths in a
file are relative to it. Source: the Kubernetes pages "Organizing Cluster Access Using kubeconfig Files" and
"Accessing the Kubernetes API from a Pod". Where we differ: credential plugins (`exec`, `auth-provider`) are
refused with a message.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lateen.base.errors import DataError, NotFoundError
from lateen.runtime.tls import KeyPair, build_client_context

#: What the kubelet mounts into every pod with a service account.
SERVICE_ACCOUNT_DIRECTORY = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, kw_only=True)
class ClientConfig:
    """One server and one identity; secrets are left out of its text form."""

    server: str
    ca_pem: bytes | None = None
    verify: bool = True
    tls_server_name: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    client_pair: KeyPair | None = field(default=None, repr=False)
    namespace: str = "default"

    def build_tls_context(self) -> ssl.SSLContext | None:
        """The TLS settings, None for a plain-text server."""
        if not self.server.startswith("https:"):
            return None
        try:
            context = build_client_context(self.ca_pem, self.client_pair)
        except (ssl.SSLError, ValueError) as error:
            raise DataError(f"kubeconfig: the certificate authority cannot be read: {error}") from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def load_config(path: Path | None = None, *, context: str | None = None) -> ClientConfig:
    """The config of `path`; else of KUBECONFIG; else of ~/.kube/config; else of the pod we run in."""
    if path is not None:
        return parse_kubeconfig([path], context=context)
    if named := os.environ.get("KUBECONFIG"):
        return parse_kubeconfig([Path(part) for part in named.split(os.pathsep) if part], context=context)
    home = Path(os.environ.get("HOME", "/")) / ".kube" / "config"
    if not home.exists() and "KUBERNETES_SERVICE_HOST" in os.environ:
        return read_service_account(os.environ)
    return parse_kubeconfig([home], context=context)


def read_service_account(environment: Mapping[str, str], directory: Path = SERVICE_ACCOUNT_DIRECTORY) -> ClientConfig:
    """The config of a pod: address from the environment, token (rotated by the kubelet) and CA from files."""
    try:
        host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
        namespace = directory / "namespace"
        return ClientConfig(
            server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            ca_pem=(directory / "ca.crt").read_bytes(),
            token_file=directory / "token",
            namespace=namespace.read_text().strip() if namespace.exists() else "default",
        )
    except (KeyError, OSError) as error:
        raise NotFoundError(f"no service account of a pod here: {error}") from error


def parse_kubeconfig(paths: list[Path], *, context: str | None = None) -> ClientConfig:
    """The server and identity of a context, by default the current one."""
    merged = _merge([(path, _read(path)) for path in paths if path.exists()])
    if merged is None:
        raise NotFoundError(
            f"no kubeconfig at {', '.join(map(str, paths))}",
            fix="set KUBECONFIG to the file that `lateen up` printed, or pass --kubeconfig",
        )
    name = context or merged.current
    chosen = merged.find("contexts", name).part("context")
    cluster, user = merged.find("clusters", chosen.get("cluster")), None
    if chosen.get("user"):
        user = merged.find("users", chosen["user"])
    return _build(cluster, user, chosen.get("namespace") or "default")


@dataclass(frozen=True)
class _Entry:
    """A named part of a kubeconfig and the directory that its paths are relative to."""

    directory: Path
    content: dict[str, Any]

    def part(self, name: str) -> dict[str, Any]:
        """The named part, empty when it is missing or no mapping."""
        part = self.content.get(name)
        return part if isinstance(part, dict) else {}

    def data(self, part: str, name: str) -> bytes | None:
        """The bytes of `<name>-data` (base64) or of the file `<name>`."""
        content = self.part(part)
        try:
            if text := content.get(f"{name}-data"):
                return base64.b64decode(str(text), validate=True)
            if file := content.get(name):
                return (self.directory / str(file)).read_bytes()
        except ValueError as error:
            raise DataError(f"kubeconfig: {name}-data is not base64: {error}") from error
        except OSError as error:
            raise DataError(f"kubeconfig: {name}: {error.strerror}: {error.filename}") from error
        return None


@dataclass(frozen=True)
class _Merged:
    current: str | None
    entries: dict[tuple[str, str], _Entry]

    def find(self, part: str, name: str | None) -> _Entry:
        if name is None:
            raise DataError("kubeconfig: no current-context", fix="kubectl config use-context NAME")
        if (entry := self.entries.get((part, name))) is None:
            known = ", ".join(sorted(other for kind, other in self.entries if kind == part)) or "none"
            raise DataError(f"kubeconfig: {name!r} is not among the {part} ({known})")
        return entry


def _merge(files: list[tuple[Path, dict[str, Any]]]) -> _Merged | None:
    if not files:
        return None
    entries: dict[tuple[str, str], _Entry] = {}
    for path, content in files:
        for part in ("clusters", "users", "contexts"):
            items = content.get(part)
            for item in items if isinstance(items, list) else ():
                if isinstance(item, dict) and isinstance(item.get("name"), str):
                    entries.setdefault((part, item["name"]), _Entry(path.resolve().parent, item))
    current = next((name for _, content in files if (name := content.get("current-context"))), None)
    return _Merged(current, entries)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_bytes(), yaml.CSafeLoader)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a kubeconfig")
    return content


def _build(cluster: _Entry, user: _Entry | None, namespace: str) -> ClientConfig:
    server = cluster.part("cluster")
    identity = user.part("user") if user else {}
    if plugin := next((name for name in ("exec", "auth-provider") if identity.get(name)), None):
        raise DataError(
            f"kubeconfig: the credential plugin {plugin!r} is not supported",
            fix="use a token or a client certificate",
        )
    if not isinstance(server.get("server"), str):
        raise DataError("kubeconfig: the cluster has no server")
    certificate = user.data("user", "client-certificate") if user else None
    key = user.data("user", "client-key") if user else None
    token_file = identity.get("tokenFile")
    return ClientConfig(
        server=server["server"].rstrip("/"),
        ca_pem=cluster.data("cluster", "certificate-authority"),
        verify=not server.get("insecure-skip-tls-verify", False),
        tls_server_name=server.get("tls-server-name"),
        token=None if token_file else identity.get("token"),
        token_file=user.directory / token_file if user and token_file else None,
        client_pair=KeyPair(key, certificate) if key and certificate else None,
        namespace=namespace,
    )
