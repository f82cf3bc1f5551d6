"""`lateen analyze` on files alone: lines, forms and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from lateen.cli.analyze import FINDINGS_EXIT_CODE, analyze

ROUTE = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - route:
    - destination:
        host: web
"""
SERVICE = """apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: http, port: 80}]}
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(analyze, ["--use-kube=false", *arguments], standalone_mode=False)


def test_a_finding_has_object_file_line_and_field(tmp_path: Path) -> None:
    file = tmp_path / "route.yaml"
    file.write_text(ROUTE)
    done = run("-n", "shop", str(file))
    assert done.return_value == FINDINGS_EXIT_CODE
    assert done.output == (
        f"Error [IST0101] (VirtualService shop/web {file}:9) spec.http[0].route[0].destination.host: "
        'Referenced host not found: "web"\n'
    )


def test_findings_are_data_when_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "route.yaml"
    file.write_text(ROUTE)
    done = run("-o", "json", str(file))
    assert done.return_value == FINDINGS_EXIT_CODE
    (found,) = json.loads(done.output)
    assert found["code"] == "IST0101"
    assert found["origin"] == "VirtualService default/web"
    assert found["reference"] == f"{file}:9"
    assert found["documentationUrl"].endswith("/ist0101/")


def test_files_without_mistakes_end_with_nothing_to_say(tmp_path: Path) -> None:
    (tmp_path / "route.yaml").write_text(ROUTE)
    (tmp_path / "service.yaml").write_text(SERVICE)
    done = run(str(tmp_path))
    assert done.return_value == 0
    assert done.output == "No problems found in namespace default.\n"
