"""`lateen demo`: start a mesh, run the pods of `two-pods.yaml` in it, and prove what a mesh promises.

A cluster that runs already is used; otherwise one is started in a temporary directory and ended afterwards.
Without `--once` it stays up until Ctrl-C, with a small shop behind the ingress gateway for a browser to visit.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lateen.base.errors import LateenError
from lateen.cli.output import Steps
from lateen.cli.proofs import NAMESPACE, PROOFS, Disproved, Proof
from lateen.cli.stage import Stage
from lateen.cli.up import start_daemon, state_of, state_option
from lateen.cluster.state import StateDir, find_running

MANIFEST = Path(__file__).with_name("two-pods.yaml")
SHOP = (Path(__file__).with_name("shop.yaml"), Path(__file__).with_name("shop-gateway.yaml"))
SHOP_NAMESPACE = "shop"
SHOP_HOST = "shop.localhost"
_SHOP_PODS = 4


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
        failed = _prove(kubeconfig, manifest, steps, output, keep=not once)
        if not once:
            _stay(kubeconfig, steps)
    return 1 if failed else 0


def _prove(kubeconfig: Path, manifest: Path, steps: Steps, output: str, *, keep: bool) -> int:
    started = time.monotonic()
    steps.start("starting five pods, four of them with an Envoy sidecar")
    with _stage(kubeconfig, NAMESPACE) as scene:
        scene.fill(manifest)
        scene.wait_for_pods(count=5)
        steps.done(f"five pods run after {time.monotonic() - started:.1f} s")
        results = [_show(proof, scene, steps) for proof in PROOFS]
        if not keep:
            steps.start("cleaning up")
            scene.clear()
            steps.done("cleaned up")
    failed = sum(not result["holds"] for result in results)
    if output == "json":
        click.echo(json.dumps(results, indent=2))
    else:
        click.echo(f"{len(results) - failed} of {len(results)} proofs hold")
    return failed


def _show(proof: Proof, scene: Stage, steps: Steps) -> dict[str, object]:
    steps.start(proof.claim)
    holds, evidence = True, ""
    try:
        evidence = proof.show(scene)
        steps.done(f"{proof.claim}: {evidence}")
    except (Disproved, LateenError) as error:
        holds, evidence = False, str(error)
        steps.failed(f"{proof.claim}: {evidence}")
    return {"proof": proof.name, "claim": proof.claim, "holds": holds, "evidence": evidence}


@contextmanager
def _stage(kubeconfig: Path, namespace: str) -> Iterator[Stage]:
    stage = Stage(kubeconfig, namespace)
    try:
        yield stage
    finally:
        stage.close()


def _stay(kubeconfig: Path, steps: Steps) -> None:
    steps.start("opening a shop of four services behind the ingress gateway")
    with _stage(kubeconfig, SHOP_NAMESPACE) as shop:
        shop.fill(*SHOP, labels={"istio-injection": "enabled"})
        shop.wait_for_pods(count=_SHOP_PODS)
        port = _find_gateway_port(shop)
    steps.done("the shop is open")
    click.echo(
        f"\nIn a browser:  http://{SHOP_HOST}:{port}/\n\n"
        f"In another shell, for as long as this runs (Ctrl-C ends it):\n\n"
        f"  export KUBECONFIG={kubeconfig}\n"
        f"  kubectl get pods -A -o wide\n"
        f"  curl -s http://127.0.0.1:{port}/ -H 'Host: {SHOP_HOST}'\n"
        f"  kubectl -n {NAMESPACE} exec client -c curl -- curl -s http://hello/\n"
        f"  kubectl -n {NAMESPACE} exec plain -- curl -s http://secure:8000/     # refused: STRICT\n"
        f"  kubectl -n {SHOP_NAMESPACE} apply -f examples/canary/                  # see examples/README.md\n"
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        click.echo("", err=True)


def _find_gateway_port(stage: Stage) -> int:
    """Where the ingress gateway's port 80 is reached on this machine."""
    service = stage.get("services", "istio-ingressgateway", "istio-system")
    port = next(port for port in service["spec"]["ports"] if port["port"] == 80)
    return int(port["nodePort"])
