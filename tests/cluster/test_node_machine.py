"""The probe of the machine: it does the real thing, and names what stands in the way."""

import errno
import json
import subprocess
import sys

import pytest

from lateen.cluster.machine import MachineReport, find_remedies, probe

PROBE = """
import json
from lateen.cluster.machine import probe
report = probe()
print(json.dumps([report.ok, report.steps, report.failed, report.number, report.message, report.fix]))
"""


def probe_after(preparation: str) -> tuple[bool, list[str], str, int, str, str]:
    """What the probe says in a user namespace after a shell command."""
    script = f'{preparation} && exec "$0" -c "$1"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, sys.executable, PROBE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ok, steps, failed, number, message, fix = json.loads(done.stdout)
    return ok, steps, failed, number, message, fix


def test_this_machine_can_run_pods() -> None:
    report = probe()
    assert report.ok, report.message
    assert "create a veth pair" in report.steps and "install nftables rules" in report.steps


@pytest.mark.parametrize(
    ("limit", "step"),
    [
        ("max_user_namespaces", "create a user namespace"),
        ("max_net_namespaces", "create a network namespace"),
        ("max_pid_namespaces", "create a pid namespace"),
        ("max_mnt_namespaces", "create a mount namespace"),
    ],
)
def test_a_limit_of_zero_is_named_with_its_remedy(limit: str, step: str) -> None:
    ok, steps, failed, number, message, fix = probe_after(f"echo 0 > /proc/sys/user/{limit}")
    assert not ok
    assert (failed, number) == (step, errno.ENOSPC)
    assert step not in steps
    assert step in message and "ENOSPC" in message
    assert f"sysctl -w user.{limit}=" in fix


def test_a_masked_proc_as_in_containers_is_named() -> None:
    ok, _steps, failed, number, _message, fix = probe_after("mount -t tmpfs none /proc/fs")
    assert not ok
    assert (failed, number) == ("mount proc", errno.EPERM)
    assert "systempaths=unconfined" in fix


def test_a_missing_kernel_module_is_a_remedy_for_what_is_not_supported() -> None:
    assert any("modprobe" in remedy for remedy in find_remedies("create a bridge", errno.EOPNOTSUPP))


def test_a_report_is_one_sentence_for_the_user() -> None:
    report = MachineReport(("map the user",), "mount proc", errno.EPERM, ("do this", "do that"))
    assert report.message == (
        "this machine cannot run pods: the step `mount proc` failed with EPERM (Operation not permitted)"
    )
    assert report.fix == "do this; or do that"


def test_a_program_hidden_by_a_mount_does_not_keep_pods_from_running() -> None:
    ok, _steps, failed, *_ = probe_after('mount --bind /dev/null "$(readlink -f /usr/bin/env)"')
    assert ok, failed
