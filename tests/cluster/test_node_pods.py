"""Pods on a real node: real API server, real namespaces, real processes."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from node_pods import (
    CONFIG_MAPS,
    PODS,
    SECRETS,
    RunningNode,
    config_map,
    is_ready,
    run_node,
    shell,
    status_of,
)

from lateen.base.errors import NotFoundError
from lateen.testing.poll import until

HTTP = {"name": "app", "image": "docker.io/lateen/sample-http:1.0"}


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[RunningNode]:
    async with run_node(tmp_path) as running:
        yield running


async def test_a_pod_runs_is_ready_and_answers_on_its_address(node: RunningNode) -> None:
    probe = {"httpGet": {"path": "/healthz", "port": "web"}, "periodSeconds": 1}
    await node.create("web", {**HTTP, "ports": [{"name": "web", "containerPort": 8080}], "readinessProbe": probe})
    await node.create("client", {"name": "app", "image": "lateen/sample-curl"})
    web = await node.until_ready("web")
    await node.until_ready("client")
    assert web["spec"]["nodeName"] == "lateen"
    address = web["status"]["podIP"]
    code, output = await node.execute("client", "curl", "-sS", "-w", "%{http_code}", f"http://{address}:8080/hi")
    assert code == 0, output
    body, _, status = output.rpartition("}")
    assert status.strip() == "200"
    assert json.loads(body + "}")["pod"] == "web"
    assert ("Started", "Started container app") in await node.events("web")


async def test_an_unknown_image_says_what_to_add(node: RunningNode) -> None:
    await node.create("typo", {"name": "app", "image": "ngnix:1"})
    found = await node.until(
        "typo", lambda p: status_of(p).get("state", {}).get("waiting", {}).get("message"), "a message"
    )
    waiting = status_of(found)["state"]["waiting"]
    assert waiting["reason"] == "ErrImagePull"
    assert "ngnix:1" in waiting["message"] and "`command`" in waiting["message"]
    assert found["status"]["phase"] == "Pending"


async def test_a_program_that_is_not_there_is_a_start_error_that_backs_off(node: RunningNode) -> None:
    await node.create("wrong", {"name": "app", "image": "any", "command": ["no-such-program"]})
    found = await node.until(
        "wrong",
        lambda p: status_of(p).get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff",
        "back-off",
    )
    last = status_of(found)["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (128, "StartError")
    assert "no-such-program" in last["message"]


async def test_a_container_that_fails_is_restarted_and_keeps_its_previous_log(node: RunningNode) -> None:
    await node.create("flaky", shell("echo attempt of $HOSTNAME; exit 7"))
    found = await node.until("flaky", lambda p: status_of(p).get("restartCount") == 1, "one restart")
    assert found["status"]["phase"] == "Running"
    await node.until("flaky", lambda p: "waiting" in status_of(p)["state"], "back-off")
    assert await node.log("flaky", previous=True) == "attempt of flaky\n"
    assert "Back-off restarting failed container app" in await node.until_event("flaky", "BackOff")


@pytest.mark.parametrize(("script", "phase"), [("true", "Succeeded"), ("exit 3", "Failed")])
async def test_a_pod_that_is_never_restarted_ends_in_a_phase(node: RunningNode, script: str, phase: str) -> None:
    await node.create("once", shell(f"echo why > /dev/termination-log; {script}"), restartPolicy="Never")
    found = await node.until_phase("once", phase)
    ended = status_of(found)["state"]["terminated"]
    assert ended["message"] == "why\n"
    assert ended["reason"] == ("Completed" if phase == "Succeeded" else "Error")


async def test_init_containers_run_in_order_and_sidecars_before_the_app(node: RunningNode) -> None:
    share = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    sidecar = shell(
        "sleep 0.3; echo sidecar >> /shared/order; touch /shared/up; sleep infinity", "sidecar",
        restartPolicy="Always", startupProbe={"exec": {"command": ["test", "-f", "/shared/up"]}, "periodSeconds": 1}, **share,
    )  # fmt: skip
    await node.create(
        "ordered",
        shell("echo app >> /shared/order; sleep infinity", **share),
        initContainers=[
            shell("sleep 0.2; echo first >> /shared/order", "first", **share),
            sidecar,
            shell("echo second >> /shared/order", "second", **share),
        ],
        volumes=[{"name": "shared", "emptyDir": {}}],
    )
    found = await node.until_ready("ordered")
    assert (await node.execute("ordered", "cat", "/shared/order"))[1].split() == ["first", "sidecar", "second", "app"]
    assert status_of(found, "sidecar")["ready"] and status_of(found, "first")["state"]["terminated"]["exitCode"] == 0


async def test_an_app_ends_before_its_sidecar_and_both_are_asked_first(node: RunningNode) -> None:
    mount = {"volumeMounts": [{"name": "kept", "mountPath": "/kept"}]}
    trap = "trap 'echo {0} ended >> /kept/order; exit 0' TERM; touch /kept/{0}; while :; do sleep 0.05; done"
    claim = [{"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}}]
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo preStop >> /kept/order"]}}}
    await node.create(
        "graceful",
        shell(trap.format("app"), lifecycle=hook, **mount),
        initContainers=[shell(trap.format("sidecar"), "sidecar", restartPolicy="Always", **mount)],
        volumes=claim,
        terminationGracePeriodSeconds=10,
    )
    await node.until_ready("graceful")
    kept = node.state.path / "claims" / "default" / "kept"
    await until(lambda: (kept / "app").exists() and (kept / "sidecar").exists(), what="traps are set")
    await node.admin.delete(PODS, "default", "graceful")
    await node.until_gone("graceful")
    assert (kept / "order").read_text().splitlines() == ["preStop", "app ended", "sidecar ended"]


async def test_a_container_that_ignores_sigterm_is_killed_after_its_grace_period(node: RunningNode) -> None:
    await node.create("stubborn", shell("trap '' TERM; sleep infinity"), terminationGracePeriodSeconds=1)
    await node.until_ready("stubborn")
    await node.admin.delete(PODS, "default", "stubborn")
    await node.until_gone("stubborn")


async def test_environment_comes_from_values_fields_config_maps_secrets_and_services(node: RunningNode) -> None:
    await node.admin.create(CONFIG_MAPS, config_map("settings", COLOUR="green", SIZE="9"))
    secret = {
        "metadata": {"name": "hidden", "namespace": "default"},
        "data": {"key": base64.b64encode(b"s3cret").decode()},
    }
    await node.admin.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", **secret})
    await node.create(
        "env",
        shell(
            "sleep infinity",
            env=[
                {"name": "PLAIN", "value": "one"},
                {"name": "JOINED", "value": "$(PLAIN)-$(NOT_THERE)-$$(PLAIN)"},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "SIZE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "SIZE"}}},
                {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "key"}}},
                {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "no", "optional": True}}},
            ],
            envFrom=[{"prefix": "CFG_", "configMapRef": {"name": "settings"}}],
        ),
    )
    found = await node.until_ready("env")
    _code, printed = await node.execute("env", "env")
    values = dict(line.partition("=")[::2] for line in printed.splitlines())
    expected = {
        "PLAIN": "one",
        "JOINED": "one-$(NOT_THERE)-$(PLAIN)",
        "IP": found["status"]["podIP"],
        "APP": "env",
        "SIZE": "9",
        "SECRET": "s3cret",
        "CFG_COLOUR": "green",
        "HOSTNAME": "env",
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    }
    assert {name: values.get(name) for name in expected} == expected
    assert "NONE" not in values


async def test_a_container_waits_for_a_config_map_and_starts_when_it_comes(node: RunningNode) -> None:
    late = {"configMapKeyRef": {"name": "late", "key": "word"}}
    await node.create("waiting", shell("sleep infinity", env=[{"name": "WORD", "valueFrom": late}]))
    found = await node.until("waiting", lambda p: status_of(p)["state"].get("waiting", {}).get("message"), "a reason")
    waiting = status_of(found)["state"]["waiting"]
    assert waiting == {"reason": "CreateContainerConfigError", "message": 'configmap "late" not found'}
    await node.admin.create(CONFIG_MAPS, config_map("late", word="here"))
    await node.until_ready("waiting")
    assert (await node.execute("waiting", "printenv", "WORD"))[1] == "here\n"


async def test_volumes_show_config_maps_secrets_tokens_and_fields(node: RunningNode) -> None:
    await node.admin.create(CONFIG_MAPS, config_map("files", **{"a.txt": "A", "b.txt": "B"}))
    secret = {"metadata": {"name": "key", "namespace": "default"}, "data": {"tls.key": base64.b64encode(b"K").decode()}}
    await node.admin.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", **secret})
    mounts = {
        "config": "/usr/share/not/there", "chosen": "/etc/chosen", "secret": "/secret", "all": "/var/run/all", "own": "/data",
    }  # fmt: skip
    projected = [
        {"serviceAccountToken": {"path": "token", "audience": "somebody", "expirationSeconds": 3600}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"configMap": {"name": "not-there", "optional": True}},
    ]
    await node.create(
        "volumes",
        shell(
            "sleep infinity",
            volumeMounts=[
                *({"name": name, "mountPath": path} for name, path in mounts.items()),
                {"name": "config", "mountPath": "/one/file.txt", "subPath": "b.txt"},
                {"name": "own", "mountPath": "/part", "subPath": "deep/er"},
            ],
        ),
        volumes=[
            {"name": "config", "configMap": {"name": "files"}},
            {
                "name": "chosen",
                "configMap": {"name": "files", "items": [{"key": "a.txt", "path": "x/y", "mode": 0o400}]},
            },
            {"name": "secret", "secret": {"secretName": "key", "defaultMode": 0o400}},
            {"name": "all", "projected": {"sources": projected}},
            {"name": "own", "emptyDir": {}},
        ],
    )
    await node.until_ready("volumes")
    script = (
        "cd /; cat usr/share/not/there/a.txt etc/chosen/x/y one/file.txt secret/tls.key; echo; "
        "stat -Lc %a etc/chosen/x/y secret/tls.key; cat var/run/all/labels; echo; cut -d. -f2 var/run/all/token; "
        "touch part/new; ls data/deep/er; touch secret/x 2>/dev/null || echo read-only"
    )
    code, output = await node.execute("volumes", "sh", "-c", script)
    assert code == 0, output
    contents, first, second, labels, token, new, read_only = output.splitlines()
    assert (contents, first, second, labels) == ("AABK", "400", "400", 'app="volumes"')
    claims = json.loads(base64.urlsafe_b64decode(token + "=="))
    assert claims["aud"] == ["somebody"]
    assert claims["kubernetes.io"]["pod"]["name"] == "volumes"
    assert (new, read_only) == ("new", "read-only")


async def test_a_changed_config_map_reaches_the_volume_at_once_as_a_whole(node: RunningNode) -> None:
    await node.admin.create(CONFIG_MAPS, config_map("live", one="1", two="1"))
    await node.create(
        "reader",
        shell("sleep infinity", volumeMounts=[{"name": "v", "mountPath": "/v"}]),
        volumes=[{"name": "v", "configMap": {"name": "live"}}],
    )
    await node.until_ready("reader")
    await node.admin.patch(CONFIG_MAPS, "default", "live", {"data": {"one": "2", "two": None}})

    async def changed() -> bool:
        return (await node.execute("reader", "sh", "-c", "cat /v/*; ls /v"))[1] == "2one\n"

    await until(changed, what="the new content")


async def test_liveness_restarts_and_readiness_follows_the_app(node: RunningNode) -> None:
    probe = {"periodSeconds": 1, "failureThreshold": 1}
    await node.create(
        "probed",
        shell(
            "touch /tmp/ready /tmp/live; sleep infinity",
            readinessProbe={"exec": {"command": ["test", "-f", "/tmp/ready"]}, **probe},
            livenessProbe={"exec": {"command": ["test", "-f", "/tmp/live"]}, "initialDelaySeconds": 1, **probe},
        ),
    )
    await node.until_ready("probed")
    await node.execute("probed", "rm", "/tmp/ready")
    await node.until("probed", lambda p: not is_ready(p), "not ready any more")
    await node.execute("probed", "touch", "/tmp/ready")
    await node.until_ready("probed")
    await node.execute("probed", "rm", "/tmp/live")
    await node.until("probed", lambda p: status_of(p).get("restartCount") == 1 and is_ready(p), "restarted")
    assert "failed liveness probe" in await node.until_event("probed", "Killing")


async def test_logs_follow_tail_and_begin_where_asked(node: RunningNode) -> None:
    await node.create("talker", shell("echo one; echo two; sleep 0.3; echo three"), restartPolicy="Never")
    await node.until("talker", lambda p: status_of(p).get("state", {}).get("running"), "it runs")

    async def begun() -> bool:
        return "two" in await node.log("talker")

    await until(begun)
    followed = node.log("talker", follow=True, tail_lines=1)
    assert await asyncio.wait_for(followed, 15) == "two\nthree\n"
    stamped = await node.log("talker", timestamps=True)
    moments = [datetime.fromisoformat(line.split()[0][:26] + "+00:00") for line in stamped.splitlines()]
    assert len(moments) == 3 and moments == sorted(moments)
    assert await node.log("talker", since=moments[2] - timedelta(milliseconds=50)) == "three\n"
    assert await node.log("talker", since=datetime.now(UTC) + timedelta(hours=1)) == ""
    with pytest.raises(NotFoundError, match="previous terminated container"):
        await node.log("talker", previous=True)


async def test_pods_run_again_after_the_node_was_away(tmp_path: Path) -> None:
    async with run_node(tmp_path) as node:
        await node.create("lasting", shell("echo up; sleep infinity"))
        await node.create("done", shell("echo done"), restartPolicy="Never")
        before = await node.until_ready("lasting")
        await node.until_phase("done", "Succeeded")
    async with run_node(tmp_path) as node:
        after = await node.until("lasting", lambda p: status_of(p).get("restartCount") == 1 and is_ready(p), "again")
        assert after["status"]["podIP"] == before["status"]["podIP"]
        assert status_of(after)["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
        assert (await node.execute("lasting", "true"))[0] == 0
        done = await node.get("done")
        assert done is not None and done["status"]["phase"] == "Succeeded"
        assert status_of(done)["restartCount"] == 0
        assert await node.log("done") == "done\n"
        assert await node.log("lasting", previous=True) == "up\n"


async def test_a_user_id_is_shown_but_gives_nothing(node: RunningNode) -> None:
    context = {"securityContext": {"runAsUser": 1000, "runAsGroup": 2000}}
    await node.create("user", shell("id -u; id -g; id -un; whoami", **context), restartPolicy="Never")
    await node.until_phase("user", "Succeeded")
    assert (await node.log("user")).split() == ["1000", "2000", "user", "user"]


async def test_a_read_only_root_takes_no_files_but_in_volumes(node: RunningNode) -> None:
    context = {"securityContext": {"readOnlyRootFilesystem": True}, "workingDir": "/tmp"}
    script = "touch /file 2>/dev/null || echo refused; touch /tmp/file && echo taken; pwd"
    mount = {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
    await node.create(
        "ro", shell(script, **context, **mount), restartPolicy="Never", volumes=[{"name": "tmp", "emptyDir": {}}]
    )
    await node.until_phase("ro", "Succeeded")
    assert (await node.log("ro")).split() == ["refused", "taken", "/tmp"]


async def test_a_pod_whose_proxy_waits_for_an_agent_can_be_deleted(node: RunningNode) -> None:
    await node.admin.create(CONFIG_MAPS, config_map("istio-ca-root-cert", **{"root-cert.pem": "PEM"}))
    proxy = {"name": "istio-proxy", "image": "istio/proxyv2:1", "restartPolicy": "Always"}
    await node.create("meshed", HTTP, initContainers=[{"name": "istio-init", "image": "istio/proxyv2:1"}, proxy])
    found = await node.until(
        "meshed", lambda p: status_of(p, "istio-proxy")["state"].get("waiting", {}).get("message"), "why"
    )
    assert status_of(found, "istio-init")["state"]["terminated"]["reason"] == "Completed"
    waiting = status_of(found, "istio-proxy")["state"]["waiting"]
    assert waiting["message"] == "this cluster runs no agent, which istio-proxy needs"
    await node.admin.delete(PODS, "default", "meshed")
    await node.until_gone("meshed")


async def test_a_program_gets_a_terminal_of_its_own(node: RunningNode) -> None:
    await node.create("term", shell("sleep infinity"))
    await node.until_ready("term")
    execution = await node.node.execute(
        "default", "term", "app", ["sh", "-c", "tty; stty size; read x; echo got $x"], None
    )
    assert execution.terminal is not None
    with os.fdopen(execution.terminal, "r+b", buffering=0) as terminal:
        terminal.write(b"hello\n")
        assert await execution.wait() == 0
        shown = terminal.read(4096).decode()
    assert shown.splitlines()[0] in ("hello", "/dev/pts/0") and "/dev/pts/0" in shown and "got hello" in shown


async def test_a_child_that_floods_the_log_does_not_keep_a_container_alive(node: RunningNode) -> None:
    await node.create("flood", shell("yes & sleep 0.2; exit 4"), restartPolicy="Never")
    found = await node.until_phase("flood", "Failed")
    assert status_of(found)["state"]["terminated"]["exitCode"] == 4
    files = list((node.state.pods / found["metadata"]["uid"] / "app").iterdir())
    assert sum(file.stat().st_size for file in files) < 32 << 20
