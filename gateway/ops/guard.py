"""Ends a program and removes its folder when whoever started them is gone.

Runs as a process of its own, by path and with nothing but the standard library: `guard.py PID FOLDER`, an
empty FOLDER for none. It waits on its standard input, whose other end only the starter holds. One byte
dismisses it; the end of the input means that the starter died without a word, even by SIGKILL, and that
what it left is to be cleared away.
"""

import contextlib
import os
import select
import shutil
import signal
import sys

GRACE_MS = 10_000
"""From SIGTERM to SIGKILL; an Orthanc takes some 3 s to stop."""


def main(pid: int, folder: str) -> None:
    """Guard the process `pid`. The descriptor taken first keeps meaning it, whoever gets its number later."""
    process = os.pidfd_open(pid)
    os.write(sys.stdout.fileno(), b"\n")  # the starter may go on
    if os.read(sys.stdin.fileno(), 1):
        return
    _end(process)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def _end(process: int) -> None:
    ended = select.poll()
    ended.register(process, select.POLLIN)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)
        if ended.poll(GRACE_MS):
            return


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
