"""`lateen apply` and `delete` with several objects: one that is refused keeps no other out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lateen.testing.apiserver import RunningServer, run_apiserver

MAPS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: lost, namespace: absent}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: found}
"""
NAMESPACED = """
apiVersion: v1
kind: Namespace
metadata: {name: own}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: inside, namespace: own}
"""


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[RunningServer]:
    """The API server of a new cluster."""
    async with run_apiserver(tmp_path) as running:
        yield running


async def start(api: RunningServer, tmp_path: Path, verb: str, text: str) -> asyncio.subprocess.Process:
    """`lateen VERB -f` with the text in a file."""
    file = tmp_path / "in.yaml"
    file.write_text(text)
    return await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("lateen")), verb),
        *("--kubeconfig", str(api.state / "kubeconfig"), "-f", str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_an_object_of_a_namespace_that_is_absent_keeps_no_other_out(api: RunningServer, tmp_path: Path) -> None:
    lateen = await start(api, tmp_path, "apply", MAPS)
    output, errors = await lateen.communicate()
    assert (await lateen.wait(), output) == (65, b"configmap/found created\n")
    for told in (b"1 of 2 objects refused", b"ConfigMap lost", b'namespaces "absent" not found'):
        assert told in errors


async def test_what_lies_in_a_namespace_is_deleted_before_waiting_for_the_namespace(
    api: RunningServer, tmp_path: Path
) -> None:
    await (await start(api, tmp_path, "apply", NAMESPACED)).communicate()
    lateen = await start(api, tmp_path, "delete", NAMESPACED)
    assert lateen.stdout
    # Nobody empties namespaces here, so it would wait for ever.
    assert await lateen.stdout.readline() == b'namespace "own" deleted\n'
    assert await lateen.stdout.readline() == b'configmap "inside" deleted\n'
    lateen.terminate()
    await lateen.communicate()
    assert (await api.request("GET", "/api/v1/namespaces/own/configmaps/inside")).status == 404
