"""The spool: one file per received instance, self-describing, durable before it is acknowledged.

File layout, little endian:

    data set bytes, exactly as received | trailer: JSON, UTF-8 | footer: 32 bytes

The footer closes the record: magic, length of the data, length and CRC-32 of the trailer. A file without a whole
footer is torn and was never acknowledged. The data come first, so that a delivery reads them at offset 0 and an
arrival writes without knowing their length.

Names are random and ours; nothing a peer sent is ever part of a path. A file's name must survive a power cut like
its content does. To pay for that once per batch and not per instance, names are made in advance: `_Blanks` creates
a few empty files and syncs their directory; an instance then costs one fdatasync. Empty files are left-overs of
that and mean nothing.
"""

import errno
import fcntl
import os
import re
import shutil
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Self

from gateway.domain.decision import new_id
from gateway.domain.transfer import SpoolRecord
from gateway.errors import SpoolCorrupt, SpoolFull, StoreUnavailable
from gateway.store.trailer import decode_trailer, encode_trailer

_FOOTER = struct.Struct("<8sQQII")  # magic, data bytes, trailer bytes, CRC-32 of the trailer, zero
_MAGIC = b"EXGSPL01"
FOOTER_BYTES = _FOOTER.size

TRAILER_LIMIT_BYTES = 1 << 20
"""A trailer holds one decision per destination, some hundred bytes each."""

BLANK_COUNT = 32
"""Files created per directory sync: one sync of about 0.5 ms becomes 16 us per instance."""

FREE_SPACE_CHECK_BYTES = 64 << 20
"""Free space is asked for again after this much has been written, which bounds both cost and error."""

BUFFERS_PER_WRITE_COUNT = 1024
"""What one writev takes (IOV_MAX). The fragments of a head may be more, however few bytes they hold."""

_READ_BYTES = 1 << 20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_SHARD = re.compile(r"[0-9a-f]{2}")
_RECORD_ID = re.compile(r"[0-9a-f]{32}")


class Spool:
    """The directory of records. Safe to use from any thread; one process at a time."""

    def __init__(self, directory: Path, free_space_floor_bytes: int) -> None:
        """Open the spool, creating it if need be.

        Raises:
            StoreUnavailable: another process holds it, or the directory cannot be used.
        """
        self._directory = directory
        self._floor_bytes = free_space_floor_bytes
        self._lock = threading.Lock()
        self._unchecked_bytes = FREE_SPACE_CHECK_BYTES
        self._syncs = _Syncs()
        try:
            _make_directory(directory, self._syncs)
            self._lock_fd = _lock(directory)
        except BlockingIOError as error:
            raise StoreUnavailable(f"the spool {directory} is in use by another gateway process") from error
        except OSError as error:
            raise StoreUnavailable(f"the spool {directory} cannot be used: {error.strerror}") from error
        self._blanks = _Blanks(directory, self._syncs)

    def create(self) -> "SpoolWriter":
        """A new, empty record to write an arriving data set into.

        Raises:
            SpoolFull: free space is below the floor.
            StoreUnavailable: a sync failed earlier, or the disk refuses.
        """
        self._syncs.check()
        with _refusals("create a file"):
            self._check_space()
            record_id, fd = self._blanks.take()
        return SpoolWriter(self, record_id, fd)

    def open(self, record_id: str) -> "SpoolReader":
        """A reader of one record's data set.

        Raises:
            SpoolCorrupt: there is no such record, or the disk does not give it back.
        """
        path = self.path(record_id)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise SpoolCorrupt(f"spool record {record_id} cannot be read: {error.strerror}") from error
        return SpoolReader(record_id, fd)

    def remove(self, record_id: str) -> None:
        """Delete a record; one that is not there is no error.

        Raises:
            StoreUnavailable: the disk refuses.
        """
        path = self.path(record_id)
        with _refusals("delete a file"):
            path.unlink(missing_ok=True)

    def record_ids(self) -> Iterator[str]:
        """The ids of all non-empty records, whole or torn.

        Raises:
            StoreUnavailable: the disk refuses.
        """
        with _refusals("list its files"):
            yield from (path.name for path, size_bytes in self._files() if size_bytes)

    def remove_blanks(self) -> None:
        """Delete what earlier runs created in advance and did not use. Only before the first `create`.

        Raises:
            StoreUnavailable: the disk refuses.
        """
        with _refusals("delete a file"):
            for path, size_bytes in self._files():
                if not size_bytes:
                    path.unlink()

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._directory).free

    @property
    def failed(self) -> bool:
        """Whether a sync failed: the kernel may have dropped what it could not write, so nothing is believed."""
        return self._syncs.failed

    def path(self, record_id: str) -> Path:
        """Where a record is.

        Raises:
            SpoolCorrupt: no record could have this name.
        """
        if not _RECORD_ID.fullmatch(record_id):
            raise SpoolCorrupt("no spool record has such a name")
        return self._directory / record_id[:2] / record_id

    def close(self) -> None:
        """Delete unused blanks and let go of the directory; harmless a second time."""
        self._blanks.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _files(self) -> Iterator[tuple[Path, int]]:
        """All files that are ours with their lengths, blanks included; a volume may hold others, such as lost+found."""
        for shard in sorted(self._directory.iterdir()):
            if shard.is_dir() and _SHARD.fullmatch(shard.name):
                for name in filter(_RECORD_ID.fullmatch, os.listdir(shard)):
                    with suppress(FileNotFoundError):  # delivered and removed meanwhile
                        yield shard / name, (shard / name).stat().st_size

    def _check_space(self) -> None:
        with self._lock:
            if self._unchecked_bytes < FREE_SPACE_CHECK_BYTES:
                return
            if self.free_bytes() < self._floor_bytes:
                raise SpoolFull(
                    "free space in the spool is below its floor; make room or lower spool.free_space_floor_bytes"
                )
            self._unchecked_bytes = 0

    def _count_written(self, count: int) -> None:
        with self._lock:
            self._unchecked_bytes += count


class SpoolWriter:
    """One record while it arrives. Owned by one thread; ends with `commit` or `abandon`."""

    def __init__(self, spool: Spool, record_id: str, fd: int) -> None:
        self.record_id = record_id
        self.data_bytes = 0
        self._spool = spool
        self._fd = fd
        self._digest = sha256()

    def write(self, fragments: Sequence[memoryview | bytes]) -> None:
        """Append fragments of the data set; they are not needed any more when this returns.

        Raises:
            SpoolFull: the disk is full.
            StoreUnavailable: the disk refuses.
        """
        for fragment in fragments:
            self._digest.update(fragment)
        self.data_bytes += self._append(fragments)

    def sha256(self) -> str:
        """The digest of what was written so far, in hexadecimal digits."""
        return self._digest.hexdigest()

    def commit(self, record: SpoolRecord) -> None:
        """Close the record with its trailer. When this returns, data and trailer survive a power cut.

        Raises:
            SpoolFull, StoreUnavailable: it may not survive; it must not be acknowledged.
        """
        trailer = encode_trailer(record)
        footer = _FOOTER.pack(_MAGIC, self.data_bytes, len(trailer), zlib.crc32(trailer), 0)
        self._append((trailer, footer))
        self._spool._syncs.sync(os.fdatasync, self._fd)
        self._close()
        self._spool._count_written(self.data_bytes)

    def abandon(self) -> None:
        """Delete the record. Harmless after `commit` or a second time."""
        if self._fd >= 0:
            self._close()
            self._spool.remove(self.record_id)

    def _append(self, buffers: Sequence[memoryview | bytes]) -> int:
        with _refusals("be written"):
            return sum(
                self._append_few(buffers[start : start + BUFFERS_PER_WRITE_COUNT])
                for start in range(0, len(buffers), BUFFERS_PER_WRITE_COUNT)
            )

    def _append_few(self, buffers: Sequence[memoryview | bytes]) -> int:
        total = sum(len(buffer) for buffer in buffers)
        written = os.writev(self._fd, buffers) if total else 0
        if written != total:  # a disk about to be full writes a part; the rest then says why
            rest = b"".join(buffers)[written:]
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        return total

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1


class SpoolReader:
    """One record's data set while it leaves. Owned by one thread; a context manager."""

    def __init__(self, record_id: str, fd: int) -> None:
        self.record_id = record_id
        self._fd = fd

    def read_into(self, slots: Sequence[memoryview], offset: int) -> int:
        """Fill the slots in order from the data set at `offset`; returns the bytes read, 0 at the end of the file.

        Raises:
            SpoolCorrupt: the disk does not give them back.
        """
        with self._readable():
            return os.preadv(self._fd, slots, offset)

    def is_torn(self) -> bool:
        """Whether the record was never finished, and so never acknowledged: it does not end with a whole footer.

        Raises:
            SpoolCorrupt: the disk does not give it back.
        """
        return self._footer() is None

    def record(self) -> SpoolRecord:
        """What the trailer says.

        Raises:
            SpoolCorrupt: torn, or damaged.
        """
        return self._trailer()[0]

    def verify(self) -> SpoolRecord:
        """What the trailer says, after checking that the data still have the length and digest it names.

        Raises:
            SpoolCorrupt: torn, or damaged.
        """
        record, data_bytes = self._trailer()
        digest = sha256()
        offset = 0
        while offset < data_bytes:
            chunk = self._read(min(_READ_BYTES, data_bytes - offset), offset)
            if not chunk:
                break
            digest.update(chunk)
            offset += len(chunk)
        if digest.hexdigest() != record.sha256:
            raise SpoolCorrupt(f"spool record {self.record_id}: the data do not have the digest of the record")
        return record

    def _trailer(self) -> tuple[SpoolRecord, int]:
        footer = self._footer()
        if footer is None:
            raise SpoolCorrupt(f"spool record {self.record_id} is torn: it does not end with a whole footer")
        data_bytes, trailer_bytes, crc = footer
        trailer = self._read(trailer_bytes, data_bytes)
        if zlib.crc32(trailer) != crc:
            raise SpoolCorrupt(f"spool record {self.record_id}: its trailer is damaged")
        record = decode_trailer(trailer)
        if record.record_id != self.record_id or record.data_bytes != data_bytes:
            raise SpoolCorrupt(f"spool record {self.record_id}: its trailer belongs to another record")
        return record, data_bytes

    def _footer(self) -> tuple[int, int, int] | None:
        """Length of the data, length and CRC-32 of the trailer; None when the file does not end with a footer."""
        with self._readable():
            size = os.fstat(self._fd).st_size
        footer = self._read(FOOTER_BYTES, size - FOOTER_BYTES) if size >= FOOTER_BYTES else b""
        if len(footer) != FOOTER_BYTES:
            return None
        magic, data_bytes, trailer_bytes, crc, zero = _FOOTER.unpack(footer)
        fits = data_bytes + trailer_bytes + FOOTER_BYTES == size and trailer_bytes <= TRAILER_LIMIT_BYTES
        return (data_bytes, trailer_bytes, crc) if fits and (magic, zero) == (_MAGIC, 0) else None

    def _read(self, count: int, offset: int) -> bytes:
        with self._readable():
            return os.pread(self._fd, count, offset)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SpoolCorrupt(f"spool record {self.record_id} cannot be read: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Blanks:
    """Empty files whose names are already durable."""

    def __init__(self, directory: Path, syncs: "_Syncs") -> None:
        self._directory = directory
        self._syncs = syncs
        self._lock = threading.Lock()
        self._ready: list[str] = []

    def take(self) -> tuple[str, int]:
        """A record id and its open, empty file. Raises OSError, StoreUnavailable."""
        with self._lock:
            if not self._ready:
                self._ready = self._create()
            record_id = self._ready.pop()
        return record_id, os.open(self._directory / record_id[:2] / record_id, os.O_WRONLY | os.O_CLOEXEC)

    def close(self) -> None:
        with self._lock:
            for record_id in self._ready:
                (self._directory / record_id[:2] / record_id).unlink(missing_ok=True)
            self._ready = []

    def _create(self) -> list[str]:
        shard = self._directory / new_id()[:2]
        if not shard.is_dir():
            shard.mkdir(mode=0o700)
            self._syncs.sync_directory(self._directory)
        names = [shard.name + new_id()[2:] for _ in range(BLANK_COUNT)]
        for name in names:
            os.close(os.open(shard / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._syncs.sync_directory(shard)
        return names


class _Syncs:
    """Syncs, until one fails. The next one would succeed and mean nothing: what could not be written is forgotten."""

    def __init__(self) -> None:
        self.failed = False

    def check(self) -> None:
        """Raises StoreUnavailable when a sync failed earlier."""
        if self.failed:
            raise StoreUnavailable("the spool's disk failed to sync; nothing is accepted until the gateway restarts")

    def sync(self, sync: Callable[[int], None], fd: int) -> None:
        """Call `os.fdatasync` or `os.fsync`. Raises StoreUnavailable."""
        self.check()
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


def _make_directory(directory: Path, syncs: _Syncs) -> None:
    """Make the spool's directory and those above it; their names, and those of all shards, are durable afterwards."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        syncs.sync_directory(each.parent)
    syncs.sync_directory(directory)


def _lock(directory: Path) -> int:
    """The descriptor that holds the spool's lock. Raises BlockingIOError when another one does."""
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


@contextmanager
def _refusals(doing: str) -> Iterator[None]:
    """What the disk refuses, as an error of the store."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise SpoolFull("the spool's disk is full") from error
        raise StoreUnavailable(f"the spool cannot {doing}: {error.strerror}") from error
