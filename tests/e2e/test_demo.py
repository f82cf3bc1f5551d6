"""`lateen demo --once` proves its claims, and each proof fails alone when what it claims is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lateen.cli.demo import MANIFEST
from lateen.cli.proofs import PROOFS

from .conftest import Mesh

Documents = list[dict[str, Any]]


def find(documents: Documents, kind: str, name: str) -> dict[str, Any]:
    """One object of the demo."""
    return next(one for one in documents if one["kind"] == kind and one["metadata"]["name"] == name)


def bypass_client(documents: Documents) -> None:
    annotations = {"traffic.sidecar.istio.io/excludeOutboundPorts": "80"}
    find(documents, "Pod", "client")["metadata"]["annotations"] = annotations


def change_identity(documents: Documents) -> None:
    find(documents, "Pod", "secure")["spec"]["serviceAccountName"] = "default"


def weaken_strict(documents: Documents) -> None:
    find(documents, "PeerAuthentication", "secure")["spec"]["mtls"]["mode"] = "PERMISSIVE"


def harden_permissive(documents: Documents) -> None:
    find(documents, "PeerAuthentication", "hello")["spec"]["mtls"]["mode"] = "STRICT"


def misdirect_probe(documents: Documents) -> None:
    container = find(documents, "Pod", "guarded")["spec"]["containers"][0]
    container["readinessProbe"]["httpGet"]["path"] = "/status/500"


def open_back_door(documents: Documents) -> None:
    annotations = {"traffic.sidecar.istio.io/excludeInboundPorts": "8080"}
    find(documents, "Pod", "guarded")["metadata"]["annotations"] = annotations


BREAKS: dict[str, Callable[[Documents], None]] = {
    "two-sidecars": bypass_client,
    "identities": change_identity,
    "strict": weaken_strict,
    "permissive": harden_permissive,
    "probes": misdirect_probe,
    "no-way-round": open_back_door,
}


def failed_proofs(mesh: Mesh, *arguments: str) -> tuple[int, set[str]]:
    """Exit status and the names of the proofs that failed."""
    done = mesh.lateen("demo", "--once", "-o", "json", *arguments, check=False)
    results = json.loads(done.stdout)
    assert {result["proof"] for result in results} == {proof.name for proof in PROOFS}, done.stderr
    return done.returncode, {result["proof"] for result in results if not result["holds"]}


def test_every_proof_holds(mesh: Mesh) -> None:
    assert failed_proofs(mesh) == (0, set())


@pytest.mark.parametrize("proof", sorted(BREAKS))
def test_breaking_a_claim_fails_its_proof_alone(mesh: Mesh, tmp_path: Path, proof: str) -> None:
    documents = list(yaml.safe_load_all(MANIFEST.read_text()))
    BREAKS[proof](documents)
    broken = tmp_path / "broken.yaml"
    broken.write_text(yaml.safe_dump_all(documents))
    assert failed_proofs(mesh, "--manifest", str(broken)) == (1, {proof})
