"""Contents of documents: files named by their SHA-256, written once, never changed.

    <directory>/part/<random>          being written
    <directory>/<2 digits>/<sha256>    whole and durable

Names are random or a digest; nothing a user sent is ever part of a path. The same bytes twice are one file. A file
that no row refers to, left by a refused entry, is harmless.
"""

import contextlib
import hashlib
import os
import re
from pathlib import Path

from gateway.domain.decision import new_id
from gateway.errors import StoreUnavailable

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = "part"


class BlobStore:
    """The directory of contents. Safe to use from any thread and process."""

    def __init__(self, directory: Path, free_space_floor_bytes: int = 0) -> None:
        """Open the store, creating it if need be. Nothing is written that would leave less free space than the floor.

        Raises:
            StoreUnavailable: the directory cannot be used.
        """
        self._directory = directory
        self._floor_bytes = free_space_floor_bytes
        self._parts = directory / _PART
        try:
            self._parts.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync_directory(directory)
            _sync_directory(directory.parent)
        except OSError as error:
            raise StoreUnavailable(f"the documents' folder {directory} cannot be used: {error.strerror}") from error

    def remove_unfinished(self) -> None:
        """Remove what an earlier process did not finish writing. For the node at its start, nobody else."""
        for entry in os.scandir(self._parts):
            os.unlink(entry.path)

    def writer(self) -> "BlobWriter":
        """A new, empty content. Its owner calls `commit` or `abandon`.

        Raises:
            StoreUnavailable: the disk refuses.
        """
        path = self._parts / new_id()
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refused(error) from error
        return BlobWriter(self, path, fd)

    def open(self, sha256: str) -> "BlobReader":
        """A reader of one content.

        Raises:
            StoreUnavailable: it is not there, or cannot be read.
        """
        try:
            return BlobReader(os.open(self._path(sha256), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
        except OSError as error:
            raise StoreUnavailable(f"the content of a document cannot be read: {error.strerror}") from error

    def _check_space(self, fd: int, count: int) -> None:
        """Documents must not take the space in which a withdrawal is registered."""
        volume = os.fstatvfs(fd)
        if volume.f_bavail * volume.f_frsize - count < self._floor_bytes:
            raise StoreUnavailable(
                "free space for documents is below its floor; make room or lower spool.free_space_floor_bytes"
            )

    def _path(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise StoreUnavailable("the content of a document cannot be read: its digest is not one")
        return self._directory / sha256[:2] / sha256

    def _keep(self, part: Path, sha256: str) -> None:
        """Give a durable part its name. Every directory on the way is synced, whoever made it."""
        final = self._path(sha256)
        final.parent.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(part, final)
        _sync_directory(final.parent)
        _sync_directory(self._directory)
        part.unlink()


class BlobWriter:
    """A content on its way in. Belongs to one thread at a time."""

    def __init__(self, store: BlobStore, path: Path, fd: int) -> None:
        self._store = store
        self._path = path
        self._fd: int | None = fd
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    @property
    def sha256(self) -> str:
        """The digest of what was written so far."""
        return self._digest.hexdigest()

    def write(self, data: bytes | memoryview) -> None:
        """Append.

        Raises:
            StoreUnavailable: the disk is full or below the floor; nothing of the content will be kept.
        """
        self._store._check_space(self._open_fd, len(data))  # one class in two halves
        self._digest.update(data)
        view = memoryview(data)
        try:
            while view:
                written = os.write(self._open_fd, view)
                self._size_bytes += written
                view = view[written:]
        except OSError as error:
            raise _refused(error) from error

    def head(self, count: int) -> bytes:
        """The first `count` bytes, or all when there are fewer."""
        return os.pread(self._open_fd, count, 0)

    def tail(self, count: int) -> bytes:
        """The last `count` bytes, or all when there are fewer."""
        return os.pread(self._open_fd, count, max(0, self._size_bytes - count))

    def commit(self) -> str:
        """Make the content durable under its digest, which is returned. After this, or its failure, it is closed.

        Raises:
            StoreUnavailable: the disk refuses; nothing was kept.
        """
        sha256 = self.sha256
        try:
            os.fdatasync(self._open_fd)
            self._store._keep(self._path, sha256)
        except OSError as error:
            raise _refused(error) from error
        finally:
            self.abandon()
        return sha256

    def abandon(self) -> None:
        """Forget what was not committed. May be repeated."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._path.unlink(missing_ok=True)

    @property
    def _open_fd(self) -> int:
        if self._fd is None:
            raise StoreUnavailable("the content was closed already")
        return self._fd


class BlobReader:
    """A content on its way out. Belongs to one thread at a time; its owner closes it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size_bytes = os.fstat(fd).st_size

    def read(self, count: int, offset: int) -> bytes:
        """Up to `count` bytes from `offset`; none at the end.

        Raises:
            StoreUnavailable: the disk refuses.
        """
        try:
            return os.pread(self._fd, count, offset)
        except OSError as error:
            raise StoreUnavailable(f"the content of a document cannot be read: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._fd)


def _refused(error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"the documents' folder cannot be written: {error.strerror}")


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
