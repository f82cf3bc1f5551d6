"""`lateen analyze` on a real cluster: the mistakes of live objects and of files that are not applied yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from .conftest import Mesh, poll, service

FINDINGS = 79


def build_route(host: str, weight: int = 1) -> dict[str, Any]:
    destination = {"destination": {"host": host, "subset": "v9"}, "weight": weight}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "web"},
        "spec": {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}, "weight": 1}, destination]}]},
    }


def test_mistakes_are_found_in_the_cluster_and_in_files(mesh: Mesh, namespace: str, tmp_path: Path) -> None:
    clean = mesh.lateen("analyze", "-n", namespace)
    assert clean.stdout == f"No problems found in namespace {namespace}.\n"

    mesh.apply(service("web"), build_route("web"), namespace=namespace)
    done = mesh.lateen("analyze", "-n", namespace, "-o", "json", check=False)
    assert done.returncode == FINDINGS, done.stderr
    path = "spec.http[0].route[1].destination"
    found = {(one["code"], one["path"]) for one in json.loads(done.stdout)}
    assert ("IST0101", f"{path}.subset") in found
    assert ("LTN0401", f"{path}.host") in found

    file = tmp_path / "route.yaml"
    file.write_text(yaml.safe_dump(build_route("nobody", weight=-1)))
    lines = file.read_text().splitlines()
    done = mesh.lateen("analyze", str(file), "-n", namespace, check=False)
    assert done.returncode == FINDINGS, done.stderr
    host_line = next(number for number, line in enumerate(lines, 1) if "host: nobody" in line)
    assert (
        f"Error [IST0101] (VirtualService {namespace}/web {file}:{host_line}) {path}.host: "
        'Referenced host not found: "nobody"'
    ) in done.stdout
    assert "spec.http[0].route[1].weight: Schema validation error: weight -1 is less than 0" in done.stdout


def test_a_negative_weight_is_refused_with_its_field(mesh: Mesh, namespace: str) -> None:
    document = build_route("web", weight=-1)
    done = mesh.kubectl("-n", namespace, "apply", "-f", "-", stdin=yaml.safe_dump(document), check=False)
    assert done.returncode != 0
    assert "spec.http[0].route[1].weight" in done.stderr
    assert poll(lambda: mesh.get("virtualservice", "web", namespace) is None)
