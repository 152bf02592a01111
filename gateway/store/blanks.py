"""Files for the next records of the spool: empty, open for writing, under names that survive a power cut."""

import os
import threading
from pathlib import Path

from gateway.domain.decision import new_id
from gateway.store.syncs import Syncs

BLANK_COUNT = 32
"""Files created per directory sync: one sync of about 0.5 ms becomes 16 us per instance."""

REUSED_COUNT = 2048
"""Emptied files kept to be used again: making a file costs a file system the more, the more were just deleted."""


class Blanks:
    """Empty files, open for writing, whose names are already durable."""

    def __init__(self, directory: Path, syncs: Syncs, flags: int) -> None:
        self._directory = directory
        self._syncs = syncs
        self._flags = flags | os.O_WRONLY | os.O_CLOEXEC
        self._lock = threading.Lock()
        self._ready: list[tuple[str, int]] = []
        self._emptied: list[Path] = []  # files of removed records, under new names that are not durable yet
        self._shard: Path | None = None

    def take(self) -> tuple[str, int]:
        """A record id and its open, empty file. Raises OSError, StoreUnavailable."""
        with self._lock:
            if not self._ready:
                self._ready = self._prepare()
            return self._ready.pop()

    def reuse(self, path: str) -> bool:
        """Empty a file to use it again, unless there are enough; its name is gone. Raises OSError."""
        with self._lock:
            if self._shard is None or len(self._emptied) >= REUSED_COUNT:
                return False
            os.truncate(path, 0)
            new_path = self._shard / self._new_id(self._shard)
            os.rename(path, new_path)
            self._emptied.append(new_path)
            return True

    def close(self) -> None:
        with self._lock:
            for record_id, fd in self._ready:
                os.close(fd)
                (self._directory / record_id[:2] / record_id).unlink(missing_ok=True)
            for path in self._emptied:
                path.unlink(missing_ok=True)
            self._ready, self._emptied = [], []

    def _prepare(self) -> list[tuple[str, int]]:
        """Emptied files if there are enough of them, else new ones; either way with durable names."""
        if len(self._emptied) >= BLANK_COUNT:
            paths, self._emptied = self._emptied[:BLANK_COUNT], self._emptied[BLANK_COUNT:]
            flags = self._flags
        else:
            shard = self._next_shard()
            paths = [shard / self._new_id(shard) for _ in range(BLANK_COUNT)]
            flags = self._flags | os.O_CREAT | os.O_EXCL
        made: list[tuple[str, int]] = []
        try:
            for path in paths:
                made.append((path.name, os.open(path, flags, 0o600)))
            for shard in {path.parent for path in paths}:
                self._syncs.sync_directory(shard)
        except BaseException:
            for _, fd in made:
                os.close(fd)
            raise
        return made

    def _next_shard(self) -> Path:
        """A folder for the next files. Raises OSError, StoreUnavailable."""
        self._shard = self._directory / new_id()[:2]
        if not self._shard.is_dir():
            self._shard.mkdir(mode=0o700)
            self._syncs.sync_directory(self._directory)
        return self._shard

    @staticmethod
    def _new_id(shard: Path) -> str:
        return shard.name + new_id()[2:]
