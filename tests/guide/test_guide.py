"""Every page of docs/guide does what it says: its commands run, and print what the page shows."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import Mesh

from .page import Block, Shell, matches, parse_page

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "guide").glob("*.md"))
_SECONDS = 40.0


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """The mesh of the guide."""
    running = Mesh(tmp_path_factory.mktemp("guide"))
    running.up()
    running.kubectl("-n", "istio-system", "rollout", "status", "deploy/istio-ingressgateway", "--timeout=60s")
    yield running
    running.down()


@pytest.fixture
def shell(mesh: Mesh, tmp_path: Path) -> Iterator[Shell]:
    """A user's shell in the checkout: `lateen` in the path, a kubeconfig of its own."""
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "lateen").write_text(f'#!/bin/sh\nexec {sys.executable} -m lateen.cli.main "$@"\n')
    (commands / "lateen").chmod(0o755)
    shutil.copy(mesh.state.kubeconfig, tmp_path / "kubeconfig")
    environment = {**mesh.environment, "KUBECONFIG": str(tmp_path / "kubeconfig")}
    environment["PATH"] = f"{commands}:{environment['PATH']}"
    environment["SAMPLES"] = str(ROOT.parent / "shared" / "samples")
    opened = Shell(ROOT, environment)
    yield opened
    opened.close()


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_page_shows_an_outcome(page: Path) -> None:
    assert any(block.shown is not None for block in parse_page(page.read_text()))


@pytest.mark.mesh
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_page_does_what_it_says(shell: Shell, page: Path, request: pytest.FixtureRequest) -> None:
    text = page.read_text()
    if "$SAMPLES" in text:
        request.getfixturevalue("shared")
    for block in parse_page(text):
        run(shell, page, block)


def run(shell: Shell, page: Path, block: Block) -> None:
    """Run a block; one that only looks is repeated until it prints what the page shows."""
    deadline = time.monotonic() + _SECONDS
    while True:
        status, output = shell.run(block.script)
        where = f"{page.relative_to(ROOT)}:{block.line}\n{block.script}"
        if block.shown is None:
            assert status == 0, f"{where}\nended with status {status}:\n{output}"
            return
        if matches(block.shown, output):
            return
        late = time.monotonic() > deadline
        assert block.repeatable and not late, f"{where}\nshown:\n{block.shown}\nprinted:\n{output}"


@pytest.mark.parametrize(
    ("shown", "output", "expected"),
    [
        pytest.param("a b\n", "a    b\n", True, id="spaces"),
        pytest.param("a\n...\nz", "a\nb\nc\nz", True, id="lines left out"),
        pytest.param("a\n...\nz", "a\nz", True, id="none left out"),
        pytest.param("pod-... 2/2", "pod-x7f 2/2", True, id="text left out"),
        pytest.param("~90 v1\n~10 v2", " 88 v1\n 12 v2", True, id="numbers near"),
        pytest.param("~90 v1\n~10 v2", " 50 v1\n 50 v2", False, id="numbers far"),
        pytest.param("200", "503", False, id="another answer"),
        pytest.param("200", "200\n503", False, id="more than shown"),
        pytest.param("1.5", "1x5", False, id="a dot is a dot"),
    ],
)
def test_how_output_is_compared(shown: str, output: str, *, expected: bool) -> None:
    assert matches(shown, output) is expected


def test_a_block_without_an_outcome_has_none() -> None:
    first, second, third = parse_page(
        "```sh\na\n```\n\n```text\nb\n```\n\n```sh\nc\n```\n\nWords.\n\n```text\nd\n```\n```sh\ne\n```\n"
    )
    assert (first.shown, second.shown, third.shown) == ("b\n", None, None)
