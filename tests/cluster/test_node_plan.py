"""The plan of a pod and its status: tables, without a machine."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from node_pods import pod, shell

from lateen.api.codec import decode
from lateen.api.pod import Pod
from lateen.cluster.node.record import ContainerRecord, Ending, PodRecord, SandboxStage, Stage
from lateen.cluster.node.restore import restore_record
from lateen.cluster.node.status import build_status
from lateen.cluster.node.sync import Forget, Prepare, Start, Stop, TearDown, find_phase, plan

NOW = datetime(2030, 1, 1, tzinfo=UTC)
READY = PodRecord(sandbox=SandboxStage.READY, address="10.244.0.9", started_at=NOW)
RUNNING = ContainerRecord().begin().run(NOW, started=True, ready=True)
UNSTARTED = ContainerRecord().begin().run(NOW, started=False, ready=False)
PROXY = {"name": "proxy", "image": "docker.io/istio/proxyv2:1.28"}


def ended(code: int) -> ContainerRecord:
    return RUNNING.end(Ending(code, "Completed" if code == 0 else "Error", NOW, NOW))


def view(*containers: Any, **spec: Any) -> Pod:
    found = decode(pod("p", *containers, **spec), Pod).value
    assert found is not None
    return found


def record(**containers: ContainerRecord) -> PodRecord:
    found = READY
    for name, state in containers.items():
        found = found.put(name, state)
    return found


APP = shell("app")
FIRST, SECOND = shell("1", "first"), shell("2", "second")
SIDE, OTHER = shell("s", "side", restartPolicy="Always"), shell("o", "other", restartPolicy="Always")


@pytest.mark.parametrize(
    ("spec", "state", "expected"),
    [
        pytest.param({}, PodRecord(), (Prepare(),), id="first the sandbox"),
        pytest.param({}, PodRecord(sandbox=SandboxStage.PREPARING), (), id="nothing while it is made"),
        pytest.param({}, record(), (Start("app"),), id="then the containers"),
        pytest.param({"initContainers": [FIRST, SECOND]}, record(), (Start("first"),), id="init containers one by one"),
        pytest.param({"initContainers": [FIRST, SECOND]}, record(first=RUNNING), (), id="each to its end"),
        pytest.param({"initContainers": [FIRST, SECOND]}, record(first=ended(0)), (Start("second"),), id="then the next"),
        pytest.param({"initContainers": [FIRST]}, record(first=ended(1)), (Start("first"),), id="a failed one again"),
        pytest.param({"initContainers": [SIDE, FIRST]}, record(side=UNSTARTED), (), id="a sidecar until it has started"),
        pytest.param({"initContainers": [SIDE, FIRST]}, record(side=RUNNING), (Start("first"),), id="a sidecar goes on"),
        pytest.param(
            {"initContainers": [SIDE]}, record(side=ended(1), app=RUNNING), (Start("side"),), id="a sidecar is restarted"
        ),
        pytest.param(
            {"initContainers": [SIDE, FIRST]},
            record(side=ended(1), first=ended(0), app=ended(1)),
            (Start("side"), Start("app")),
            id="initialization is not repeated",
        ),
        pytest.param({}, record(app=ended(1)), (Start("app"),), id="the first restart is at once"),
        pytest.param({}, record(app=ended(0)), (Start("app"),), id="Always means always"),
        pytest.param({"restartPolicy": "OnFailure"}, record(app=ended(0)), (TearDown(),), id="OnFailure lets success be"),
        pytest.param({"restartPolicy": "OnFailure"}, record(app=ended(1)), (Start("app"),), id="OnFailure restarts"),
        pytest.param({"restartPolicy": "Never"}, record(app=ended(1)), (TearDown(),), id="Never never does"),
    ],
)  # fmt: skip
def test_what_starts_next(spec: dict[str, Any], state: PodRecord, expected: tuple[object, ...]) -> None:
    assert plan(view(APP, **spec), state, NOW).actions == expected


@pytest.mark.parametrize(
    ("containers", "inits", "state", "expected"),
    [
        pytest.param([APP], [SIDE, OTHER], record(app=RUNNING, side=RUNNING, other=RUNNING), ["app"], id="the app first"),
        pytest.param([APP], [SIDE, OTHER], record(app=ended(0), side=RUNNING, other=RUNNING), ["other"], id="last sidecar"),
        pytest.param([APP], [SIDE, OTHER], record(app=ended(0), side=RUNNING, other=ended(0)), ["side"], id="first sidecar"),
        pytest.param([APP, PROXY], [], record(app=RUNNING, proxy=RUNNING), ["app"], id="a proxy after the app"),
        pytest.param([APP, PROXY], [], record(app=ended(0), proxy=RUNNING), ["proxy"], id="then the proxy"),
        pytest.param([APP], [FIRST], record(first=RUNNING), ["first"], id="an init container that runs"),
    ],
)  # fmt: skip
def test_what_ends_next(containers: list[Any], inits: list[Any], state: PodRecord, expected: list[str]) -> None:
    stop_by = NOW + timedelta(seconds=30)
    found = plan(view(*containers, initContainers=inits), replace(state, stop_by=stop_by), NOW)
    assert found.actions == tuple(Stop(name, stop_by) for name in expected)


def test_a_pod_that_is_deleted_loses_its_sandbox_and_then_its_object() -> None:
    state = replace(record(app=ended(0)), stop_by=NOW)
    assert plan(view(APP), state, NOW).actions == (TearDown(),)
    assert plan(view(APP), replace(state, sandbox=SandboxStage.REMOVED), NOW).actions == (Forget(),)
    assert plan(view(APP), replace(state, sandbox=SandboxStage.PREPARING), NOW).actions == ()


def test_a_pod_that_does_not_end_loses_its_sandbox_all_the_same() -> None:
    stuck = replace(record(app=replace(RUNNING, stopping=True)), stop_by=NOW)
    found = plan(view(APP), stuck, NOW)
    assert found.actions == () and found.wake_at is not None
    assert plan(view(APP), stuck, found.wake_at).actions == (TearDown(),)


def test_a_container_that_still_starts_is_ended_too() -> None:
    state = replace(record(app=ContainerRecord().begin()), stop_by=NOW)
    assert plan(view(APP), state, NOW).actions == (Stop("app", NOW),)


def test_nothing_ends_while_services_still_send_to_the_pod() -> None:
    leaving = replace(record(app=RUNNING), stop_by=NOW, withdrawing=True)
    assert plan(view(APP), leaving, NOW).actions == ()
    assert plan(view(APP), replace(leaving, withdrawing=False), NOW).actions == (Stop("app", NOW),)


def test_a_sidecar_ends_when_the_job_is_done() -> None:
    job = view(APP, initContainers=[SIDE], restartPolicy="Never")
    found = plan(job, record(app=ended(0), side=RUNNING), NOW).actions
    assert [type(action) for action in found] == [Stop]
    assert find_phase(job, record(app=ended(0), side=RUNNING)) == "Succeeded"


def test_back_off_doubles_to_five_minutes_and_is_forgotten_after_ten_minutes_of_life() -> None:
    state, delays = ContainerRecord(), []
    for _ in range(8):
        state = state.begin().run(NOW, started=True, ready=True).end(Ending(1, "Error", NOW, NOW))
        assert state.retry_at is not None
        delays.append((state.retry_at - NOW).total_seconds())
    assert delays == [0, 10, 20, 40, 80, 160, 300, 300]
    assert state.restarts == 7
    long = state.begin().run(NOW, started=True, ready=True)
    again = long.end(Ending(1, "Error", NOW + timedelta(minutes=11), NOW))
    assert again.retry_at == NOW + timedelta(minutes=11)


def test_a_container_in_back_off_waits_and_says_so() -> None:
    crashed = RUNNING.end(Ending(1, "Error", NOW, NOW)).begin().run(NOW, started=True, ready=True)
    state = record(app=crashed.end(Ending(2, "Error", NOW, NOW)))
    found = plan(view(APP), state, NOW + timedelta(seconds=9))
    assert (found.actions, found.wake_at) == ((), NOW + timedelta(seconds=10))
    assert plan(view(APP), state, NOW + timedelta(seconds=10)).actions == (Start("app"),)
    shown = build_status(view(APP), state, NOW, {})["containerStatuses"][0]
    assert shown["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert shown["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=app pod=p_default")
    assert shown["lastState"]["terminated"]["exitCode"] == 2
    assert shown["restartCount"] == 1


def test_conditions_keep_their_time_while_they_do_not_change() -> None:
    before = build_status(view(APP), record(app=RUNNING), NOW, {})
    after = build_status(view(APP), record(app=RUNNING), NOW + timedelta(hours=1), before)
    assert after["conditions"] == before["conditions"]
    unready = build_status(view(APP), record(app=UNSTARTED), NOW + timedelta(hours=1), before)
    changed = {c["type"] for c, old in zip(unready["conditions"], before["conditions"], strict=True) if c != old}
    assert changed == {"Ready", "ContainersReady"}


def test_readiness_gates_hold_back_ready_only() -> None:
    gated = view(APP, readinessGates=[{"conditionType": "example.com/gate"}])
    status = {c["type"]: c["status"] for c in build_status(gated, record(app=RUNNING), NOW, {})["conditions"]}
    assert (status["Ready"], status["ContainersReady"]) == ("False", "True")
    met = {"conditions": [{"type": "example.com/gate", "status": "True"}]}
    status = {c["type"]: c["status"] for c in build_status(gated, record(app=RUNNING), NOW, met)["conditions"]}
    assert status == {**status, "Ready": "True", "example.com/gate": "True"}


def test_what_ran_when_the_node_ended_is_run_again_and_what_was_over_is_not() -> None:
    document = pod("p", APP, restartPolicy="OnFailure")
    found = decode(document, Pod).value
    assert found is not None
    running = build_status(found, record(app=RUNNING), NOW, {})
    lost = decode({**document, "status": running}, Pod).value
    assert lost is not None
    restored = restore_record(lost, "10.244.0.9", NOW)
    assert restored.container("app").stage is Stage.WAITING and restored.container("app").attempted
    assert plan(found, replace(restored, sandbox=SandboxStage.READY), NOW).actions == (Start("app"),)
    done = build_status(found, record(app=ended(0)), NOW, {})
    over = decode({**document, "status": done}, Pod).value
    assert over is not None
    restored = restore_record(over, "10.244.0.9", NOW)
    assert plan(found, restored, NOW).actions == ()
    assert find_phase(found, restored) == "Succeeded"


def test_a_new_sandbox_is_initialized_anew_before_anything_else_runs_in_it() -> None:
    document = pod("p", APP, initContainers=[FIRST, SIDE])
    found = view(APP, initContainers=[FIRST, SIDE])
    status = build_status(found, record(first=ended(0), side=RUNNING, app=RUNNING), NOW, {})
    lost = decode({**document, "status": status}, Pod).value
    assert lost is not None
    restored = replace(restore_record(lost, "10.244.0.9", NOW), sandbox=SandboxStage.READY)
    assert plan(found, restored, NOW).actions == (Start("first"),)
    restored = restored.put("first", ended(0))
    assert plan(found, restored, NOW).actions == (Start("side"),)
    restored = restored.put("side", RUNNING)
    assert plan(found, restored, NOW).actions == (Start("app"),)
