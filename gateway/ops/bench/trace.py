"""System calls of a running process, counted by strace. Slow: never while times are taken."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.errors import DeadlineExceeded
from gateway.ops.bench.peers import wait_for
from gateway.ops.counterparts import find
from gateway.ops.process import GuardedProcess

ATTACH_DEADLINE_S = 10.0
ATTACHED = "attached"
SYNCS = frozenset({"fsync", "fdatasync", "sync_file_range", "syncfs", "msync"})
DETACH_S = 5.0


class Calls:
    """The counts of one process, by name; empty until it is over, and where strace may not look."""

    def __init__(self) -> None:
        self.counts: Mapping[str, int] = {}

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def syncs(self) -> int:
        return sum(count for name, count in self.counts.items() if name in SYNCS)


def strace() -> Path | None:
    """The program, or None."""
    found = find("strace") or shutil.which("strace")
    return Path(found) if found else None


@contextmanager
def counted(pid: int | None) -> Iterator[Calls]:
    """Count what a process and its threads ask of the system while the context is open; None is nobody."""
    calls = Calls()
    program = strace() if pid else None
    if program is None:
        yield calls
        return
    with tempfile.TemporaryDirectory(prefix="gateway-strace-") as folder:
        table, log = Path(folder, "table"), Path(folder, "log")
        tracer = GuardedProcess(
            [program, "-f", "-c", "-U", "name,calls", "-o", table, "-p", str(pid)],
            log=log,
            env={},
            folder_to_remove=None,
        )
        try:
            _wait_until_attached(tracer, log)
            yield calls
        finally:
            _end(tracer)
            if table.exists():
                calls.counts = counts_in(table.read_text())


def _wait_until_attached(tracer: GuardedProcess, log: Path) -> None:
    with suppress(DeadlineExceeded):
        wait_for(
            lambda: tracer.exit_code is not None or ATTACHED in log.read_text(errors="replace"),
            ATTACH_DEADLINE_S,
            "strace does not attach",
        )


def _end(tracer: GuardedProcess) -> None:
    """SIGINT lets it write its table; then whatever is left of it ends."""
    if tracer.exit_code is None:
        tracer.interrupt()
        with suppress(DeadlineExceeded):
            wait_for(lambda: tracer.exit_code is not None, DETACH_S, "strace does not end")
    tracer.stop(tidy=False)


def counts_in(table: str) -> dict[str, int]:
    """Name and calls of each line that has both; headings, rules and the sum have not."""
    counts = {}
    for line in table.splitlines():
        match line.split():
            case [name, number] if number.isdigit() and name != "total":
                counts[name] = int(number)
    return counts
