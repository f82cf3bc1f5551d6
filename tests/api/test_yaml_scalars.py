"""Scalars and keys mean what kubectl makes of them.

`kubectl_scalars.json` was recorded with kubectl 1.32 (`kubectl annotate --local -f - -o json`); `json` is what it
printed for the value, null where it refused the file. With a kubectl on the machine it is recorded anew and compared.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lateen.api.yaml_loader import load

TABLE: list[dict[str, Any]] = json.loads(Path(__file__).with_name("kubectl_scalars.json").read_text())
HEAD = "apiVersion: v1\nkind: Example\nmetadata:\n  name: a\nspec:\n"


def _read(body: str) -> Any:
    loaded = load(HEAD + "".join(f"  {line}\n" for line in body.splitlines()), "in.yaml")
    if loaded.diagnostics:
        return loaded.diagnostics[0].message
    return loaded.documents[0].object["spec"]


def _run_kubectl(text: str) -> subprocess.CompletedProcess[str]:
    command = ["kubectl", "annotate", "--local", "-f", "-", "-o", "json", "x=y"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def _same(ours: Any, theirs: Any) -> bool:
    """Equal in value and type; a float of ours may be printed as a long integer by Go."""
    return (type(ours) is type(theirs) and ours == theirs) or (type(ours) is float and ours == float(theirs))


def test_the_table_has_the_sixty_cases_and_more() -> None:
    assert len({row["yaml"] for row in TABLE}) >= 60


@pytest.mark.parametrize("row", [row for row in TABLE if row["json"] is not None], ids=lambda row: row["yaml"])
def test_a_scalar_is_read_as_kubectl_reads_it(row: dict[str, Any]) -> None:
    assert _same(_read(f"v: {row['yaml']}")["v"], json.loads(row["json"]))


@pytest.mark.parametrize("row", [row for row in TABLE if row["json"] is None], ids=lambda row: row["yaml"])
def test_what_kubectl_refuses_is_refused(row: dict[str, Any]) -> None:
    assert isinstance(_read(f"v: {row['yaml']}"), str)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")
def test_the_recorded_table_is_what_kubectl_does_here() -> None:
    accepted = [row for row in TABLE if row["json"] is not None]
    text = HEAD + "".join(f"  v{place}: {row['yaml']}\n" for place, row in enumerate(accepted))
    run = _run_kubectl(text)
    assert run.returncode == 0, run.stderr
    spec = json.loads(run.stdout)["spec"]
    different = {
        row["yaml"]: spec[f"v{place}"]
        for place, row in enumerate(accepted)
        if spec[f"v{place}"] != json.loads(row["json"])
    }
    assert different == {}


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("yes", "true"),
        ("off", "false"),
        ("1", "1"),
        ("0x10", "16"),
        ("1_0", "10"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("1e3", "1000"),
        ("1e21", "1e+21"),
        ("1e-7", "1e-07"),
        ("12345678.5", "1.2345678e+07"),
        ("-0.0", "-0"),
        (".inf", ".inf"),
        ('"yes"', "yes"),
        ("!!str 1", "1"),
        ('!!int "3"', "3"),
        ("2001-12-14", "2001-12-14"),
    ],
)
def test_keys_become_text_as_kubectl_makes_them(key: str, expected: str) -> None:
    assert _read(f"{key}: v") == {expected: "v"}


@pytest.mark.parametrize("key", ["~", "null", "? [a]\n", "? {a: b}\n"])
def test_what_cannot_be_a_key_is_refused(key: str) -> None:
    assert "key" in _read(f"{key}: v")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a: &a {x: 1}\nb:\n  <<: *a\n  z: 3", {"a": {"x": 1}, "b": {"x": 1, "z": 3}}),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  x: 3", {"a": {"x": 1}, "b": {"x": 3}}),
        ("a: &a {x: 1}\nb:\n  x: 3\n  <<: *a", {"a": {"x": 1}, "b": {"x": 1}}),
        ("a: &a {x: 1}\nc: &c {x: 2, z: 3}\nb:\n  <<: [*a, *c]", None),
        ('b:\n  "<<": 3', {"b": {"<<": 3}}),
        ("a: &a 1\nb: *a\nc: &a 2\nd: *a", {"a": 1, "b": 1, "c": 2, "d": 2}),
        ("a: !!set {x, z}", {"a": {"x": None, "z": None}}),
        ("a: [x: 1, z: 2]", {"a": [{"x": 1}, {"z": 2}]}),
        ("&k a: 1\nb: *k", {"a": 1, "b": "a"}),
        ("a:\nb: ''", {"a": None, "b": ""}),
        ("a: |\n  x\n  z\nb: >-\n  q\n  r", {"a": "x\nz\n", "b": "q r"}),
    ],
)
def test_merges_anchors_and_blocks_are_those_of_kubectl(body: str, expected: Any) -> None:
    if expected is None:
        expected = {"a": {"x": 1}, "c": {"x": 2, "z": 3}, "b": {"x": 1, "z": 3}}
    assert _read(body) == expected
    if shutil.which("kubectl") is not None:
        text = HEAD + "".join(f"  {line}\n" for line in body.splitlines())
        assert json.loads(_run_kubectl(text).stdout)["spec"] == expected
