"""The program of a container, and programs executed beside it: last steps between fork and execve.

Flow: argv, env, cwd, user, kept capabilities, standard descriptors -> execve, or `StepFailed` told through a pipe
that execve closes.
Invariants: signals are as a fresh process expects them, the process leads its own session, its capabilities are
gone for good (also the bounding set) and no program can give them back. A user id that is not 0 is shown through a
nested user namespace, which owns nothing; only a program that keeps capabilities stays out of it.
Source: credentials(7), capabilities(7), user_namespaces(7).
"""

import errno
import fcntl
import os
import resource
import signal
import termios
from typing import Any

from lateen.cluster.sandbox import kernel
from lateen.cluster.sandbox.root import StepFailed

_OPEN_FILES = 65536
PROCESSES = 4096  # of one pod: counted by its user namespace; also pod_init.py, by its pid namespace
Spec = dict[str, Any]


def start(spec: Spec, descriptors: tuple[int, int, int], *, terminal: bool = False) -> int:
    """Start the program and return its pid once execve succeeded; raises StepFailed."""
    report, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(report)
            _become(spec, descriptors, terminal=terminal)
        except StepFailed as failed:
            os.write(told, f"{failed.number} {failed.step}".encode())
        except ValueError as error:
            # A null character or the like, where the API admits any text.
            os.write(told, f"{errno.EINVAL} {error}".encode("utf-8", "replace"))
        except BaseException as error:
            os.write(told, f"{errno.EIO} {error!r}".encode())
        finally:
            os._exit(128)
    os.close(told)
    with os.fdopen(report, "rb") as pipe:
        answer = pipe.read().decode()
    if answer:
        number, step = answer.split(" ", 1)
        raise StepFailed(step, OSError(int(number), os.strerror(int(number))))
    return pid


def _become(spec: Spec, descriptors: tuple[int, int, int], *, terminal: bool) -> None:
    os.setsid()
    _reset_signals()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    if terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.umask(0o022)
    _limit()
    directory = spec["directory"]
    try:
        os.makedirs(directory, exist_ok=True)
        os.chdir(directory)
    except OSError as error:
        raise StepFailed(f"chdir to {directory}", error) from error
    try:
        _drop_privileges(spec)
    except OSError as error:
        raise StepFailed("drop privileges", error) from error
    _execute(spec["arguments"], spec["environment"])


def _reset_signals() -> None:
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except OSError:
                continue  # the C library keeps two real-time signals for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _limit() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    processes = PROCESSES if hard == resource.RLIM_INFINITY else min(hard, PROCESSES)
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


def _drop_privileges(spec: Spec) -> None:
    kept = tuple(spec["capabilities"])
    user, group = spec["user"], spec["group"]
    if (user or group) and not kept:
        # /proc/self/uid_map is ours to write only while we are dumpable.
        kernel.set_dumpable(dumpable=True)
        kernel.unshare(kernel.CLONE_NEWUSER)
        kernel.map_user(user, group, 0, 0)
    kernel.keep_capabilities(kept)
    kernel.forbid_new_privileges()


def _execute(arguments: list[str], environment: dict[str, str]) -> None:
    try:
        os.execvpe(arguments[0], arguments, environment)
    except FileNotFoundError as error:
        where = "in $PATH" if "/" not in arguments[0] else "in the container"
        raise StepFailed(f'exec: "{arguments[0]}": not found {where}', error) from error
    except OSError as error:
        raise StepFailed(f'exec: "{arguments[0]}"', error) from error
