"""Pods that go wrong in every way: each fails by itself, with a reason, and none hurts the node or its neighbours."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from node_pods import SLEEP, RunningNode, config_map, is_ready, run_node, shell, status_of

from lateen.api.objects import JsonObject
from lateen.cluster.images import ImageTable
from lateen.cluster.node.pod_api import get_kind

CONFIG_MAPS = get_kind("", "v1", "configmaps")


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[RunningNode]:
    async with run_node(tmp_path) as running:
        await running.create("neighbour", {"name": "app", "image": "any", "command": SLEEP})
        await running.until_ready("neighbour")
        yield running
        neighbour = await running.until_ready("neighbour")
        assert status_of(neighbour)["restartCount"] == 0


def app(**fields: Any) -> JsonObject:
    """A container that sleeps."""
    return {"name": "app", "image": "any", "command": SLEEP, **fields}


UNUSABLE = {
    "a null character in the command": (app(command=["sleep", "a\0b"]), "null"),
    "an empty command": (app(command=[""]), "empty"),
    "a directory as command": (app(command=["/etc"]), "Permission denied"),
    "a null character in a variable": (app(env=[{"name": "X", "value": "a\0b"}]), "null"),
    "an environment beyond what execve takes": (app(env=[{"name": "X", "value": "x" * 200_000}]), "too long"),
    "a null character in the working directory": (app(workingDir="/a\0b"), "null"),
    "a file as working directory": (app(workingDir="/etc/passwd/x"), "chdir to /etc/passwd/x"),
    "a null character in a mount path": (app(volumeMounts=[{"name": "v", "mountPath": "/a\0b"}]), "null"),
    "a null character in a path of a volume": (
        app(volumeMounts=[{"name": "v", "mountPath": "/a", "subPath": "x\0y"}]),
        "null",
    ),
    "a directory on a file": (app(volumeMounts=[{"name": "v", "mountPath": "/etc/passwd"}]), "/etc/passwd"),
}


async def test_what_cannot_be_started_says_why_and_backs_off(node: RunningNode) -> None:
    names = [f"bad-{number}" for number in range(len(UNUSABLE))]
    for name, (container, _word) in zip(names, UNUSABLE.values(), strict=True):
        await node.create(name, container, volumes=[{"name": "v", "emptyDir": {}}])
    for name, (what, (_container, word)) in zip(names, UNUSABLE.items(), strict=True):
        found = await node.until(name, is_crashing, what)
        ended = status_of(found)["lastState"]["terminated"]
        assert (ended["reason"], ended["exitCode"]) == ("StartError", 128), what
        assert word in ended["message"], what
        assert word in await node.until_event(name, "Failed"), what


def is_crashing(found: JsonObject) -> bool:
    """Whether the pod's container waits for its next attempt."""
    waiting = status_of(found).get("state", {}).get("waiting", {})
    return waiting.get("reason") == "CrashLoopBackOff" and bool(status_of(found)["restartCount"])


@pytest.mark.parametrize(
    "items",
    [
        [{"key": "a", "path": "x"}, {"key": "b", "path": "x/y"}],
        [{"key": "a", "path": "x/y"}, {"key": "b", "path": "x"}],
        [{"key": "a", "path": "."}],
        [{"key": "a", "path": "..data"}],
        [{"key": "a", "path": "x\0y"}],
    ],
    ids=["file-and-directory", "directory-and-file", "the-volume-itself", "the-link", "null-character"],
)
async def test_a_volume_that_cannot_be_written_is_told_and_leaves_nothing(
    node: RunningNode, items: list[JsonObject]
) -> None:
    await node.admin.create(CONFIG_MAPS, config_map("settings", a="1", b="2"))
    volume = {"name": "v", "configMap": {"name": "settings", "items": items}}
    made = await node.create("unwritable", app(), volumes=[volume])
    assert 'MountVolume.SetUp failed for volume "v"' in await node.until_event("unwritable", "FailedMount")
    directory = node.state.runtime / "pods" / made["metadata"]["uid"] / "volumes" / "v"
    assert not directory.exists() or not any(directory.iterdir())


async def test_an_error_of_ours_ends_one_attempt_and_no_other_pod(
    node: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = ImageTable.resolve

    def fail(table: ImageTable, container: Any) -> Any:
        if container.image == "poison":
            raise ZeroDivisionError("of ours")
        return resolve(table, container)

    monkeypatch.setattr(ImageTable, "resolve", fail)
    await node.create("unlucky", app(image="poison"))
    found = await node.until("unlucky", is_crashing, "the attempt is over")
    ended = status_of(found)["lastState"]["terminated"]
    assert ended["reason"] == "StartError" and "ZeroDivisionError" in ended["message"]


@pytest.mark.parametrize(
    ("path", "script"),
    [
        ("/dev/termination-log", "rm /dev/termination-log; mkfifo /dev/termination-log; exit 3"),
        ("/dev/termination-log", "rm /dev/termination-log; ln -s /proc/1/environ /dev/termination-log; exit 3"),
        ("/proc/1/environ", "exit 3"),
        ("/dev/zero", "exit 3"),
        ("/a\0b", "exit 3"),
    ],
    ids=["pipe", "link", "environment", "device", "null-character"],
)
async def test_a_termination_message_is_what_the_app_wrote_or_nothing(
    node: RunningNode, path: str, script: str
) -> None:
    await node.create("ended", shell(script, terminationMessagePath=path), restartPolicy="Never")
    found = await node.until_phase("ended", "Failed")
    ended = status_of(found)["state"]["terminated"]
    assert ended["exitCode"] == 3
    assert not ended.get("message")


async def test_probes_of_hosts_that_are_none_fail_and_the_pod_lives(node: RunningNode) -> None:
    for name, host in (("null", "a\0b"), ("long", "x" * 300)):
        probe = {"httpGet": {"host": host, "port": 80}, "periodSeconds": 1}
        await node.create(name, app(readinessProbe=probe))
        await node.until_event(name, "Unhealthy")
        found = await node.get(name)
        assert found is not None and status_of(found)["restartCount"] == 0
        assert (await node.execute(name, "true"))[0] == 0


async def test_a_pod_has_its_own_bound_of_processes(node: RunningNode) -> None:
    if tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 14) and not os.getuid():
        return  # such a kernel spares root's processes, and has one bound for all namespaces
    wait = "mkfifo /tmp/never; exec 3<>/tmp/never; n=0"
    await node.create(
        "forking", shell(f"{wait}; while [ $n -lt 4200 ]; do read x <&3 & n=$((n+1)); done"), restartPolicy="Never"
    )
    await node.until_phase("forking", "Failed")
    assert "fork" in await node.log("forking")


async def test_a_new_sandbox_is_initialized_like_the_first(node: RunningNode) -> None:
    made = await node.create(
        "twice",
        app(),
        initContainers=[shell("echo initialized >> /v/log", "first", volumeMounts=[{"name": "v", "mountPath": "/v"}])],
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    await node.until_ready("twice")
    os.kill(find_process("lateen: pod twice"), signal.SIGKILL)
    again = await node.until("twice", lambda found: is_ready(found) and status_of(found)["restartCount"], "ready again")
    [init] = again["status"]["initContainerStatuses"]
    assert init["restartCount"] == 1 and init["state"]["terminated"]["exitCode"] == 0
    log = node.state.pods / made["metadata"]["uid"] / "volumes" / "v" / "log"
    assert log.read_text() == "initialized\n" * 2
    assert status_of(again)["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


def find_process(title: str) -> int:
    """Pid of the one process with this title."""
    titles: dict[Path, str] = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            titles[path] = path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    [found] = [path for path, text in titles.items() if text == title]
    return int(found.parent.name)
