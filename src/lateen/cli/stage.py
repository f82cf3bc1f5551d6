"""One namespace of a running cluster that the demo fills, watches and clears."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from lateen.api.kinds import Kind, Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.kinds_istio import ISTIO
from lateen.api.yaml_loader import load
from lateen.base.errors import DataError, NotFoundError, UnavailableError
from lateen.kube.client import Client
from lateen.kube.config import load_config
from lateen.kube.exec import run_in_pod

_PODS_SECONDS = 60.0
_READINESS_SECONDS = 5.0
_POLL_SECONDS = 0.05
_REGISTRY = Registry([*BUILTIN, *ISTIO])


class Stage:
    """A namespace of the cluster behind a kubeconfig; what proofs see of it (`proofs.Scene`)."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._namespace = namespace
        self._runner = asyncio.Runner()
        self._client = self._runner.run(_connect(kubeconfig))

    def close(self) -> None:
        """Disconnect."""
        self._runner.run(self._client.close())
        self._runner.close()

    def pod(self, name: str) -> dict[str, Any]:
        """The Pod as the API server has it."""
        return self.get("pods", name)

    def get(self, word: str, name: str, namespace: str = "") -> dict[str, Any]:
        """An object of this namespace, or of another one."""
        return self._runner.run(self._client.get(_get_kind(word), namespace or self._namespace, name))

    def run(self, pod: str, container: str, command: list[str]) -> tuple[int, str]:
        """Run a command in a container; its exit code and standard output."""
        output = bytearray()
        running = run_in_pod(
            self._client,
            self._namespace,
            pod,
            command,
            container=container,
            on_stdout=output.extend,
            on_stderr=lambda _: None,
        )
        code = self._runner.run(running)
        return code, output.decode("utf-8", "replace")

    def fill(self, *manifests: Path, labels: dict[str, str] | None = None) -> None:
        """Make the objects of the manifests in the namespace, which is empty before."""
        documents: list[dict[str, Any]] = []
        for manifest in manifests:
            loaded = load(manifest.read_text(), str(manifest))
            if loaded.diagnostics:
                raise DataError(f"{manifest} cannot be read", diagnostics=loaded.diagnostics)
            documents += [document.object for document in loaded.documents]
        if not any(document.get("kind") == "Namespace" for document in documents):
            metadata = {"name": self._namespace, "labels": labels or {}}
            documents.insert(0, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self._runner.run(self._replace(documents))

    def clear(self) -> None:
        """Delete the namespace and wait until it is gone."""
        self._runner.run(self._delete())

    def wait_for_pods(self, *, count: int = 1) -> None:
        """Wait until all pods, and at least `count`, run and, for a while, until they are ready.

        Whether they are ready is a proof's matter; UnavailableError when one does not even run.
        """
        started = time.monotonic()
        while True:
            pods = self._runner.run(self._client.list(_get_kind("pods"), self._namespace)).items
            waited = time.monotonic() - started
            running = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
            ready = [pod for pod in running if _is_ready(pod)]
            complete = len(pods) >= count and len(running) == len(pods)
            if complete and (len(ready) == len(pods) or waited > _READINESS_SECONDS):
                return
            if waited > _PODS_SECONDS:
                late = sorted({pod["metadata"]["name"] for pod in pods if pod not in running})
                raise UnavailableError(
                    f"pods {', '.join(late)} do not run", fix=f"see `kubectl -n {self._namespace} describe pod`"
                )
            time.sleep(_POLL_SECONDS)

    async def _delete(self) -> None:
        try:
            await self._client.delete(_get_kind("namespaces"), "", self._namespace)
            while True:
                await self._client.get(_get_kind("namespaces"), "", self._namespace)
                await asyncio.sleep(_POLL_SECONDS)
        except NotFoundError:
            return

    async def _replace(self, documents: list[dict[str, Any]]) -> None:
        await self._delete()
        for document in documents:
            kind = _REGISTRY.find_document(document)
            if kind is None:
                raise DataError(f"no kind {document.get('kind')!r} in {document.get('apiVersion')!r}")
            await self._client.create(kind, document, namespace=self._namespace if kind.namespaced else "")


async def _connect(kubeconfig: Path) -> Client:
    return Client(load_config(kubeconfig))


def _get_kind(word: str) -> Kind:
    kind = _REGISTRY.resolve(word)
    assert kind is not None, word
    return kind


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
