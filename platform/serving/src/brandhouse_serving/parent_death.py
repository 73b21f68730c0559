"""A process that ends when the one that started it ends, however that ends."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with(parent: int, number: signal.Signals) -> None:
    """Ask the kernel to send this process a signal when its parent ends.

    Args:
        parent: Process id of the parent, as it told this process.
        number: What is sent. A process that has something to write down wants SIGTERM.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it ended before the kernel was asked
        sys.exit(1)
