"""What makes files and their names survive a power cut, and stops for good when a disk fails at it."""

import os
from collections.abc import Callable
from pathlib import Path

from gateway.errors import StoreUnavailable


class Syncs:
    """Syncs, until one fails. The next one would succeed and mean nothing: what could not be written is forgotten."""

    def __init__(self, enabled: bool) -> None:
        self.failed = False
        self._enabled = enabled

    def check(self) -> None:
        """Raises StoreUnavailable when a sync failed earlier."""
        if self.failed:
            raise StoreUnavailable("the spool's disk failed to sync; nothing is accepted until the gateway restarts")

    def sync(self, sync: Callable[[int], None], fd: int) -> None:
        """Call `os.fdatasync` or `os.fsync`. Raises StoreUnavailable."""
        self.check()
        if not self._enabled:
            return
        try:
            sync(fd)
        except OSError as error:
            self.failed = True
            raise StoreUnavailable(f"the spool's disk failed to sync: {error.strerror}") from error

    def sync_directory(self, directory: Path) -> None:
        """Make the names in a directory durable. Raises OSError, StoreUnavailable."""
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(os.fsync, fd)
        finally:
            os.close(fd)


def make_directory(directory: Path, syncs: Syncs) -> None:
    """Make the spool's directory and those above it; their names, and those of all shards, are durable afterwards."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        syncs.sync_directory(each.parent)
    syncs.sync_directory(directory)
