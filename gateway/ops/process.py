"""A program that does not outlive the process that started it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.errors import PeerSystemError

STOP_GRACE_S = 10.0
"""From SIGTERM to SIGKILL; an Orthanc takes some 3 s to stop."""

_GUARD = Path(__file__).with_name("guard.py")


class GuardedProcess:
    """A running program that does not outlive us: a guard ends it, and removes its folder, should we die."""

    def __init__(
        self, argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str], folder_to_remove: Path | None
    ) -> None:
        """Start it in a session of its own, so that Ctrl-C at the terminal is for us alone."""
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  # by absolute path, without a shell
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
            )
        try:
            self._guard = _guard(self._process.pid, folder_to_remove)
        except BaseException:
            self._end(tidy=False)
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None as long as it runs."""
        return self._process.poll()

    def stop(self, *, tidy: bool = True) -> None:
        """End it: SIGTERM, and SIGKILL if it takes too long or need not tidy up."""
        self._end(tidy)
        self.detach()

    def interrupt(self) -> None:
        """SIGINT, as Ctrl-C at a terminal would send it; it is still to be stopped."""
        self._process.send_signal(signal.SIGINT)

    def detach(self) -> None:
        """Let it outlive us."""
        self._guard.communicate(b".")

    def _end(self, tidy: bool) -> None:
        if tidy:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_GRACE_S)
        self._process.kill()
        self._process.wait()


def _guard(pid: int, folder_to_remove: Path | None) -> subprocess.Popen[bytes]:
    guard = subprocess.Popen(  # noqa: S603  # this interpreter, without a shell
        [sys.executable, "-I", "-S", _GUARD, str(pid), str(folder_to_remove or "")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    if guard.stdout is None or not guard.stdout.readline():
        guard.communicate()
        raise PeerSystemError("the guard of a started program did not start; is this Linux 5.3 or later?")
    return guard
