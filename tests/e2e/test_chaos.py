"""Single pieces killed at random while pods run: everything is Ready again, counted rightly, and nothing is left over.

`LATEEN_SOAK_ROUNDS` sets how many rounds (`scripts/soak`), `LATEEN_SOAK_SEED` which; each kills one of each kind.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lateen.cluster.state import StateDir

from .conftest import Mesh, pod, poll, service
from .processes import descendants, title_of

NAMESPACE = "chaos"
ROUNDS = int(os.environ.get("LATEEN_SOAK_ROUNDS", "1"))
SEED = int(os.environ.get("LATEEN_SOAK_SEED", "0")) or random.randrange(1, 1 << 30)
MESHED, PLAIN = [f"meshed-{number}" for number in range(5)], [f"plain-{number}" for number in range(3)]
RECOVERY_SECONDS = 120.0  # a container that is killed in every round waits for its back-off


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh of this module's own, with eight pods."""
    mesh = Mesh(tmp_path_factory.mktemp("chaos"))
    mesh.up()
    mesh.kubectl("create", "namespace", NAMESPACE)
    mesh.apply(
        *[service(name) for name in MESHED],
        *[pod(name, sidecar=name in MESHED) for name in (*MESHED, *PLAIN)],
        namespace=NAMESPACE,
    )
    mesh.wait_ready(NAMESPACE, seconds=90)
    yield mesh
    mesh.lateen("down", check=False)


def test_killed_pieces_come_back_and_leave_nothing(own: Mesh) -> None:
    chance = random.Random(SEED)
    daemon = own.running.pid
    expected: Counter[tuple[str, str]] = Counter()
    requests = dict.fromkeys(MESHED, 200)
    poll(lambda: answers(own), until=lambda found: found == requests, seconds=RECOVERY_SECONDS)
    held = poll(lambda: holdings(own), until=lambda found: found["zombies"] == 0)
    for _ in range(ROUNDS):
        kill_one_of_each(own, chance, expected)
        found = poll(lambda: restarts(own), until=lambda found: found == expected, seconds=RECOVERY_SECONDS)
        assert found == expected, f"seed {SEED}"
        own.wait_ready(NAMESPACE, seconds=RECOVERY_SECONDS)
        poll(lambda: answers(own), until=lambda found: found == requests, seconds=RECOVERY_SECONDS)
    assert own.running.pid == daemon
    poll(lambda: holdings(own), until=lambda found: within(found, held), seconds=RECOVERY_SECONDS)


def test_an_end_while_pods_start_is_in_order(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path / "state")
    mesh.up()
    mesh.apply(*[pod(name, sidecar=name in MESHED) for name in (*MESHED, *PLAIN)])
    below = descendants(mesh.running.pid)
    mesh.down()
    assert not below.keys() & {pid for pid, started in descendants(1).items() if below.get(pid) == started}
    assert "Traceback" not in (mesh.state.logs / "cluster.log").read_text()


def kill_one_of_each(mesh: Mesh, chance: random.Random, expected: Counter[tuple[str, str]]) -> None:
    """Kill, in any order, an Envoy, an app, two first processes of containers, one of a pod, the agent and discovery."""
    meshed = chance.sample(MESHED, 4)
    proxy, init, app, whole = *meshed[:3], meshed[3]
    plain, other = chance.sample(PLAIN, 2)
    victims = [
        (find(mesh, proxy, "istio-proxy")[1], [(proxy, "istio-proxy")]),
        (find(mesh, init, "istio-proxy")[0], [(init, "istio-proxy")]),
        (find(mesh, app, "app")[1], [(app, "app")]),
        (find(mesh, plain, "app")[0], [(plain, "app")]),
        (find_pod(mesh, other), [(other, "app")]),
        (find_pod(mesh, whole), [(whole, "app"), (whole, "istio-proxy"), (whole, "istio-init")]),
        (find_titled(mesh, "lateen.agent.main"), []),
        (find_titled(mesh, "lateen.pilot.main"), []),
    ]
    chance.shuffle(victims)
    for victim, counted in victims:
        os.kill(victim, signal.SIGKILL)
        expected.update(counted)


def find_titled(mesh: Mesh, title: str, above: int | None = None) -> int:
    """The one process below the daemon (or below `above`) whose command line has this text."""
    found = [pid for pid in descendants(above or mesh.running.pid) if title in title_of(pid)]
    assert len(found) == 1, (title, found)
    return found[0]


def find_pod(mesh: Mesh, name: str) -> int:
    """Pid 1 of a pod."""
    return find_titled(mesh, f"lateen: pod {name}")


def find(mesh: Mesh, name: str, container: str) -> tuple[int, int]:
    """Pid 1 of a pod's container, and its program."""
    init = find_titled(mesh, f"lateen: container {container}/", find_pod(mesh, name))
    children = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    return init, int(children[0])


def restarts(mesh: Mesh) -> Counter[tuple[str, str]]:
    """How often each container was restarted."""
    found: Counter[tuple[str, str]] = Counter()
    for document in mesh.get_all("pods", NAMESPACE):
        status = document["status"]
        for each in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
            if each["restartCount"]:
                found[document["metadata"]["name"], each["name"]] = each["restartCount"]
    return found


def answers(mesh: Mesh) -> dict[str, int]:
    """HTTP status of a request to each meshed pod from another one."""
    clients = dict(zip(MESHED, [*MESHED[1:], MESHED[0]], strict=True))
    return {name: mesh.curl(NAMESPACE, clients[name], f"http://{name}/", container="app")[1] for name in MESHED}


def holdings(mesh: Mesh) -> dict[str, int]:
    """What the cluster holds of what the machine gives."""
    daemon = mesh.running.pid
    pids = descendants(daemon)
    node = find_titled(mesh, "lateen: node")
    runtime = StateDir(mesh.state.path).runtime
    return {
        "processes": len(pids),
        "zombies": len(descendants(daemon, zombies=True)) - len(pids),
        "descriptors of the daemon": len(os.listdir(f"/proc/{daemon}/fd")),
        "descriptors of node-init": len(os.listdir(f"/proc/{node}/fd")),
        "links": len(Path(f"/proc/{node}/net/dev").read_text().splitlines()),
        "mounts": len(Path(f"/proc/{node}/mountinfo").read_text().splitlines()),
        "sockets": sum(1 for _ in runtime.rglob("*.sock")),
    }


def within(found: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether no more is held than before; descriptors may differ by connections that come and go."""
    slack = {"descriptors of the daemon": 6}
    return all(found[name] <= before[name] + slack.get(name, 0) for name in before)
