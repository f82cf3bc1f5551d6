"""What a child process asks of the kernel: to end when its parent ends.

Source: prctl(2), PR_SET_PDEATHSIG. The request is checked against a parent that has gone already, so
there is no moment in which a child survives unnoticed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process as soon as its parent is gone.

    Under a session leader of its own the parent is the process that called `fork`; when that one is
    gone before the request is in force (this process was re-parented to pid 1) it ends at once.
    """
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent or parent == 1:
        sys.exit(0)
