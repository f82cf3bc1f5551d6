"""Pods made and deleted, also while they start and under the same name: the node holds afterwards what it held before."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from node_pods import PODS, SLEEP, RunningNode, run_node

from lateen.api.objects import JsonObject
from lateen.kube.errors import ApiNotFoundError
from lateen.testing.poll import until

ROUNDS, TOGETHER = 5, 10


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[RunningNode]:
    async with run_node(tmp_path) as running:
        yield running


async def test_fifty_pods_leave_nothing(node: RunningNode) -> None:
    await run_round(node, [f"first-{number}" for number in range(TOGETHER)], grace=1)
    before = holdings(node)
    for number in range(ROUNDS):
        names = [f"pod-{number}-{each}" for each in range(TOGETHER)]
        await run_round(node, names, grace=number % 2, while_starting=number >= 2)
    last: list[dict[str, int]] = []

    async def settled() -> bool:
        last[:] = [holdings(node)]
        return all(last[0][what] <= count for what, count in before.items())

    try:
        await until(settled, what="the node holds no more than before", deadline_seconds=20)
    except TimeoutError:
        raise AssertionError(f"{before} became {last}") from None


async def test_thirty_pods_at_once_and_the_same_names_again(node: RunningNode) -> None:
    names = [f"pod-{number}" for number in range(30)]
    seen: set[str] = set()
    for _ in range(2):
        made = await asyncio.gather(*[create(node, name) for name in names])
        uids = {each["metadata"]["uid"] for each in made}
        assert not uids & seen
        seen |= uids
        found = await asyncio.gather(*[node.until_ready(name) for name in names])
        assert len({each["status"]["podIP"] for each in found}) == len(names)
        await asyncio.gather(*[delete(node, name, grace=0) for name in names])
    await asyncio.gather(*[node.until_gone(name) for name in names])


async def run_round(node: RunningNode, names: list[str], *, grace: int, while_starting: bool = False) -> None:
    """Create pods, and delete them when they are ready or at once."""
    await asyncio.gather(*[create(node, name) for name in names])
    if not while_starting:
        await asyncio.gather(*[node.until_ready(name) for name in names])
    await asyncio.gather(*[delete(node, name, grace=grace) for name in names])
    await asyncio.gather(*[node.until_gone(name) for name in names])


async def create(node: RunningNode, name: str) -> JsonObject:
    """Create a pod with a volume."""
    mount = {"name": "v", "mountPath": "/v"}
    container = {"name": "app", "image": "any", "command": SLEEP, "volumeMounts": [mount]}
    return await node.create(name, container, volumes=[{"name": "v", "emptyDir": {"medium": "Memory"}}])


async def delete(node: RunningNode, name: str, *, grace: int) -> None:
    """Delete a pod."""
    try:
        await node.admin.delete(PODS, "default", name, grace_period_seconds=grace)
    except ApiNotFoundError:
        return


def holdings(node: RunningNode) -> dict[str, int]:
    """What this process and the node's hold of what the machine gives."""
    [zygote] = [pid for pid in children_of(os.getpid()) if "zygote" in Path(f"/proc/{pid}/cmdline").read_text()]
    [node_init] = children_of(zygote)
    runtime = node.state.runtime / "pods"
    return {
        "descriptors": count_descriptors(),
        "descriptors of node-init": len(os.listdir(f"/proc/{node_init}/fd")),
        "children of node-init": len(children_of(node_init)),
        "links": len(Path(f"/proc/{node_init}/net/dev").read_text().splitlines()),
        "mounts": len(Path(f"/proc/{node_init}/mountinfo").read_text().splitlines()),
        "directories": len(os.listdir(node.state.pods)) + (len(os.listdir(runtime)) if runtime.exists() else 0),
    }


def count_descriptors() -> int:
    """Descriptors of this process but for connections with the API server, which clients keep for a while."""
    connections = {line.split()[9] for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]}
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            inode = os.readlink(f"/proc/self/fd/{descriptor}").removeprefix("socket:[").removesuffix("]")
            count += inode not in connections
    return count


def children_of(pid: int) -> list[int]:
    """Child processes, ended ones that nobody has waited for among them."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
