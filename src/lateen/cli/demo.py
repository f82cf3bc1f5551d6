"""`lateen demo`: start a mesh, run the pods of `two-pods.yaml` in it, and prove what a mesh promises.

A cluster that runs already is used; otherwise one is started in a temporary directory and ended afterwards.
Without `--once` it stays up, for trying things by hand, until Ctrl-C.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from lateen.api.kinds import Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.kinds_istio import ISTIO
from lateen.api.yaml_loader import load
from lateen.base.errors import DataError, LateenError, NotFoundError, UnavailableError
from lateen.cli.output import Steps
from lateen.cli.proofs import NAMESPACE, PROOFS, Disproved
from lateen.cli.up import start_daemon, state_of, state_option
from lateen.cluster.state import StateDir, find_running
from lateen.kube.client import Client
from lateen.kube.config import load_config
from lateen.kube.exec import run_in_pod

MANIFEST = Path(__file__).with_name("two-pods.yaml")
_PODS_SECONDS = 60.0
_READINESS_SECONDS = 5.0
_REGISTRY = Registry([*BUILTIN, *ISTIO])


class Demo:
    """The demo's pods on a running cluster; what proofs see of it (`proofs.Scene`)."""

    def __init__(self, kubeconfig: Path) -> None:
        self._runner = asyncio.Runner()
        self._client = self._runner.run(_connect(kubeconfig))

    def close(self) -> None:
        """Disconnect."""
        self._runner.run(self._client.close())
        self._runner.close()

    def pod(self, name: str) -> dict[str, Any]:
        """The Pod as the API server has it."""
        return self._runner.run(self._client.get(_kind("pods"), NAMESPACE, name))

    def run(self, pod: str, container: str, command: list[str]) -> tuple[int, str]:
        """Run a command in a container; its exit code and standard output."""
        output = bytearray()
        running = run_in_pod(
            self._client,
            NAMESPACE,
            pod,
            command,
            container=container,
            on_stdout=output.extend,
            on_stderr=lambda _: None,
        )
        code = self._runner.run(running)
        return code, output.decode("utf-8", "replace")

    def apply(self, manifest: Path) -> None:
        """Make the objects of the manifest, in a namespace that is empty before."""
        loaded = load(manifest.read_text(), str(manifest))
        if loaded.diagnostics:
            raise DataError(f"{manifest} cannot be read", diagnostics=loaded.diagnostics)
        self._runner.run(self._replace([document.object for document in loaded.documents]))

    def wait_for_pods(self) -> None:
        """Wait until all pods run and, for a while, until they are ready: whether they are is a proof's matter.

        Raises UnavailableError when one does not even run.
        """
        started = time.monotonic()
        while True:
            pods = self._runner.run(self._client.list(_kind("pods"), NAMESPACE)).items
            waited = time.monotonic() - started
            running = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
            ready = [pod for pod in running if _is_ready(pod)]
            if pods and (len(ready) == len(pods) or (len(running) == len(pods) and waited > _READINESS_SECONDS)):
                return
            if waited > _PODS_SECONDS:
                late = sorted({pod["metadata"]["name"] for pod in pods if pod not in running})
                raise UnavailableError(
                    f"pods {', '.join(late)} do not run", fix=f"see `kubectl -n {NAMESPACE} describe pod`"
                )
            time.sleep(0.05)

    def clear(self) -> None:
        """Delete the demo's namespace and wait until it is gone."""
        self._runner.run(self._delete_namespace())

    async def _delete_namespace(self) -> None:
        try:
            await self._client.delete(_kind("namespaces"), "", NAMESPACE)
            while True:
                await self._client.get(_kind("namespaces"), "", NAMESPACE)
                await asyncio.sleep(0.05)
        except NotFoundError:
            return

    async def _replace(self, documents: list[dict[str, Any]]) -> None:
        await self._delete_namespace()
        for document in documents:
            kind = _REGISTRY.find_document(document)
            if kind is None:
                raise DataError(f"no kind {document.get('kind')!r} in {document.get('apiVersion')!r}")
            await self._client.create(kind, document)


async def _connect(kubeconfig: Path) -> Client:
    return Client(load_config(kubeconfig))


def _kind(word: str) -> Any:
    return _REGISTRY.resolve(word)


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


@contextmanager
def running_cluster(state: StateDir, steps: Steps) -> Iterator[Path]:
    """Kubeconfig of the cluster of a state directory if it runs, otherwise of one that lives for the block only."""
    if find_running(state) is not None:
        yield state.kubeconfig
        return
    directory = Path(tempfile.mkdtemp(prefix="lateen-demo-"))
    own = StateDir(directory)
    daemon = start_daemon(own, steps=steps, automatic_ports=True, attached=True)
    try:
        yield own.kubeconfig
    finally:
        daemon.stop()
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(own.runtime, ignore_errors=True)


@click.command()
@click.option("--once", is_flag=True, help="Prove, clean up and exit; status 1 if a proof fails.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=MANIFEST,
    help="Other objects under the same names.",
)
@state_option
def demo(*, once: bool, output: str, manifest: Path, state: Path | None) -> int:
    """Show two pods that talk through real Envoy sidecars with mTLS, and prove it."""
    steps = Steps(quiet=output == "json")
    with running_cluster(state_of(state), steps) as kubeconfig:
        scene = Demo(kubeconfig)
        try:
            failed = _prove(scene, manifest, steps, output)
            if not once:
                _stay(kubeconfig)
            steps.start("cleaning up")
            scene.clear()
            steps.done("cleaned up")
        finally:
            scene.close()
    return 1 if failed else 0


def _prove(scene: Demo, manifest: Path, steps: Steps, output: str) -> int:
    started = time.monotonic()
    steps.start("starting five pods, four of them with an Envoy sidecar")
    scene.apply(manifest)
    scene.wait_for_pods()
    steps.done(f"five pods run after {time.monotonic() - started:.1f} s")
    results = []
    for proof in PROOFS:
        steps.start(proof.claim)
        holds, evidence = True, ""
        try:
            evidence = proof.show(scene)
            steps.done(f"{proof.claim}: {evidence}")
        except (Disproved, LateenError) as error:
            holds, evidence = False, str(error)
            steps.failed(f"{proof.claim}: {evidence}")
        results.append({"proof": proof.name, "claim": proof.claim, "holds": holds, "evidence": evidence})
    failed = sum(not result["holds"] for result in results)
    if output == "json":
        click.echo(json.dumps(results, indent=2))
    else:
        click.echo(f"{len(results) - failed} of {len(results)} proofs hold")
    return failed


def _stay(kubeconfig: Path) -> None:
    click.echo(
        f"\nThe mesh stays up until Ctrl-C. In another shell:\n\n"
        f"  export KUBECONFIG={kubeconfig}\n"
        f"  kubectl -n {NAMESPACE} get pods -o wide\n"
        f"  kubectl -n {NAMESPACE} exec client -c curl -- curl -s http://hello/\n"
        f"  kubectl -n {NAMESPACE} exec plain -- curl -s http://secure:8000/   # refused: STRICT\n"
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        click.echo("", err=True)
