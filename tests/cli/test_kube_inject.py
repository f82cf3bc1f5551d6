"""`lateen kube-inject` on files: workloads injected, everything else as it was, mistakes with file and line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

TEXT = """\
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: web}]
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lateen.cli.main", "kube-inject", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_workloads_are_injected_and_services_stay(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(TEXT)
    done = run("-f", str(file))
    service, deployment = (one for one in yaml.safe_load_all(done.stdout) if one)
    assert (done.returncode, service["metadata"]) == (0, {"name": "web"})
    initial = deployment["spec"]["template"]["spec"]["initContainers"]
    assert [one["name"] for one in initial] == ["istio-init", "istio-proxy"]
    injected = tmp_path / "injected.yaml"
    injected.write_text(done.stdout)
    assert run("-f", str(injected)).stdout == done.stdout


def test_a_mistake_is_told_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    labels = "metadata: {labels: {app: web}}"
    bad = "metadata: {annotations: {traffic.sidecar.istio.io/excludeInboundPorts: all}}"
    file.write_text(TEXT.replace(labels, bad))
    done = run("-f", str(file))
    assert (done.returncode, done.stdout) == (65, "")
    assert f"{file}:5: annotation traffic.sidecar.istio.io/excludeInboundPorts" in done.stderr
