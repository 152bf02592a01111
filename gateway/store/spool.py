"""The spool: one file per received instance, self-describing, durable before it is acknowledged.

File layout, little endian:

    data set bytes, exactly as received | trailer: JSON, UTF-8 | zeros | footer: 32 bytes

The footer closes the record: magic, length of the data, length and CRC-32 of the trailer. The zeros fill the file to
whole pages; there may be none. A file without a whole footer is torn and was never acknowledged. The data come first,
so that a delivery reads them at offset 0 and an arrival writes without knowing their length.

Data go to the disk and back around the kernel's page cache (O_DIRECT) where the file system allows it: they are
written once and read once, soon after, and the cache costs more processor time than it saves.

Names are random and ours; nothing a peer sent is ever part of a path. A file's name must survive a power cut like
its content does. To pay for that once per batch and not per instance, names are made in advance: `Blanks` creates
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Self

from xxhash import xxh3_128

from gateway.domain.transfer import SpoolRecord
from gateway.errors import SpoolCorrupt, SpoolFull, StoreUnavailable
from gateway.store.blanks import Blanks
from gateway.store.pages import PAGE_BYTES, page_aligned, whole_pages
from gateway.store.syncs import Syncs, make_directory
from gateway.store.trailer import decode_trailer, encode_trailer

_FOOTER = struct.Struct("<8sQQII")  # magic, data bytes, trailer bytes, CRC-32 of the trailer, zero
_MAGIC = b"EXGSPL01"
FOOTER_BYTES = _FOOTER.size

TRAILER_LIMIT_BYTES = 1 << 20
"""A trailer holds one decision per destination, some hundred bytes each."""

FREE_SPACE_CHECK_BYTES = 64 << 20
"""Free space is asked for again after this much has been written, which bounds both cost and error."""

BUFFER_BYTES = 1 << 20
"""Written at once, and held for each arriving instance: a CT image and its trailer are one write."""

SPARE_BUFFERS_COUNT = 16
"""Buffers kept for the next instances: fresh memory costs more than what is written to it."""

_READ_BYTES = 1 << 20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_SHARD = re.compile(r"[0-9a-f]{2}")
_RECORD_ID = re.compile(r"[0-9a-f]{32}")


class Spool:
    """The directory of records. Safe to use from any thread; one process at a time."""

    def __init__(
        self, directory: Path, free_space_floor_bytes: int, *, direct: bool = True, synced: bool = True
    ) -> None:
        """Open the spool, creating it if need be.

        `direct`: around the page cache, where the file system allows it. Without `synced` nothing is durable.

        Raises:
            StoreUnavailable: another process holds it, or the directory cannot be used.
        """
        self._directory = directory
        self._root = str(directory)
        self._floor_bytes = free_space_floor_bytes
        self._lock = threading.Lock()
        self._unchecked_bytes = FREE_SPACE_CHECK_BYTES
        self._syncs = Syncs(synced)
        try:
            make_directory(directory, self._syncs)
            self._direct = os.O_DIRECT if direct and _takes_direct_io(directory) else 0
            self._lock_fd = _lock(directory)
        except BlockingIOError as error:
            raise StoreUnavailable(f"the spool {directory} is in use by another gateway process") from error
        except OSError as error:
            raise StoreUnavailable(f"the spool {directory} cannot be used: {error.strerror}") from error
        self._blanks = Blanks(directory, self._syncs, self._direct)
        self._spare_buffers: list[memoryview] = []

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

    @property
    def is_direct(self) -> bool:
        """Whether data go around the page cache."""
        return bool(self._direct)

    def open(self, record_id: str) -> "SpoolReader":
        """A reader of one record, for whoever asks what it says and whether it is whole.

        Raises:
            SpoolCorrupt: there is no such record, or the disk does not give it back.
        """
        path = self._file(record_id)
        with _readable(record_id):
            return SpoolReader(record_id, os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def open_data(self, record_id: str) -> "DataReader":
        """A reader of a record's data set alone, for its delivery.

        Raises:
            SpoolCorrupt: there is no such record, or the disk does not give it back.
        """
        path = self._file(record_id)
        with _readable(record_id):
            return DataReader(record_id, os.open(path, os.O_RDONLY | os.O_CLOEXEC | self._direct))

    def remove(self, record_id: str) -> None:
        """Delete a record; one that is not there is no error. Who has it open reads on.

        Raises:
            StoreUnavailable: the disk refuses.
        """
        path = self._file(record_id)
        with _refusals("delete a file"), suppress(FileNotFoundError):
            os.unlink(path)

    def release(self, record_id: str) -> None:
        """Delete a record that nobody has open or will open, as every delivery of it has ended: its file is used again.

        Raises:
            StoreUnavailable: the disk refuses.
        """
        path = self._file(record_id)
        with _refusals("delete a file"), suppress(FileNotFoundError):
            if not self._blanks.reuse(path):
                os.unlink(path)

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
        return Path(self._file(record_id))

    def close(self) -> None:
        """Delete unused blanks and let go of the directory; harmless a second time."""
        self._blanks.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _file(self, record_id: str) -> str:
        if not _RECORD_ID.fullmatch(record_id):
            raise SpoolCorrupt("no spool record has such a name")
        return f"{self._root}/{record_id[:2]}/{record_id}"

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

    def _take_buffer(self) -> memoryview:
        with self._lock:
            return self._spare_buffers.pop() if self._spare_buffers else page_aligned(BUFFER_BYTES)

    def _give_back(self, buffer: memoryview) -> None:
        with self._lock:
            if len(self._spare_buffers) < SPARE_BUFFERS_COUNT:
                self._spare_buffers.append(buffer)


class SpoolWriter:
    """One record while it arrives. Owned by one thread; ends with `commit` or `abandon`.

    Attributes:
        data_bytes: how much of the data set was given to `write`.
        written_bytes: how much of it a reader of the file finds by now: whole buffers.
    """

    def __init__(self, spool: Spool, record_id: str, fd: int) -> None:
        self.record_id = record_id
        self.data_bytes = 0
        self.written_bytes = 0
        self._spool = spool
        self._fd = fd
        self._digest = sha256()
        self._check = xxh3_128()
        self._buffer = spool._take_buffer()
        self._filled_bytes = 0

    def write(self, fragments: Sequence[memoryview | bytes | bytearray]) -> None:
        """Append fragments of the data set; they are not needed any more when this returns.

        Raises:
            SpoolFull: the disk is full.
            StoreUnavailable: the disk refuses.
        """
        # One call to hash for many fragments, and one to write: each call hands the interpreter to other threads.
        unhashed_from = self._filled_bytes
        buffer, filled = self._buffer, unhashed_from
        for fragment in fragments:
            end = filled + len(fragment)
            while end > BUFFER_BYTES:
                buffer[filled:] = fragment[: BUFFER_BYTES - filled]
                fragment = fragment[BUFFER_BYTES - filled :]  # noqa: PLW2901  # the rest of it
                self._hash(unhashed_from, BUFFER_BYTES)
                self._flush(BUFFER_BYTES)
                self.written_bytes += BUFFER_BYTES
                unhashed_from, filled, end = 0, 0, len(fragment)
            buffer[filled:end] = fragment
            filled = end
        self._hash(unhashed_from, filled)
        self._filled_bytes = filled
        self.data_bytes = self.written_bytes + self._filled_bytes

    def sha256(self) -> str:
        """The digest of what was given to `write` so far, in hexadecimal digits."""
        return self._digest.hexdigest()

    def xxh3_128(self) -> str:
        """The same by XXH3, 128 bits."""
        return self._check.hexdigest()

    def commit(self, record: SpoolRecord) -> None:
        """Close the record with its trailer. When this returns, data and trailer survive a power cut.

        Raises:
            SpoolFull, StoreUnavailable: it may not survive; it must not be acknowledged.
        """
        trailer = encode_trailer(record)
        footer = _FOOTER.pack(_MAGIC, self.data_bytes, len(trailer), zlib.crc32(trailer), 0)
        size_bytes = whole_pages(self.data_bytes + len(trailer) + len(footer))
        padding = bytes(size_bytes - self.data_bytes - len(trailer) - len(footer))
        end = memoryview(trailer + padding + footer)
        while end:
            piece = end[: BUFFER_BYTES - self._filled_bytes]
            self._buffer[self._filled_bytes : self._filled_bytes + len(piece)] = piece
            self._flush(self._filled_bytes + len(piece))
            end = end[len(piece) :]
        self._spool._syncs.sync(os.fdatasync, self._fd)
        self._close()

    def abandon(self) -> bool:
        """Delete the record, unless it was committed; whether it was not. Harmless a second time."""
        if self._fd < 0:
            return False
        self._close()
        self._spool.remove(self.record_id)
        return True

    def _hash(self, start: int, end: int) -> None:
        piece = self._buffer[start:end]
        self._digest.update(piece)
        self._check.update(piece)

    def _flush(self, count: int) -> None:
        """Write the first `count` bytes of the buffer, whole pages, and begin it anew."""
        rest = self._buffer[:count]
        with _refusals("be written"):
            while rest:  # a disk about to be full writes a part; the rest then says why
                rest = rest[os.write(self._fd, rest) :]
        self._spool._count_written(count)
        self._filled_bytes = 0

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1
        self._spool._give_back(self._buffer)


class DataReader:
    """One record's data set while it leaves. Owned by one thread; a context manager."""

    def __init__(self, record_id: str, fd: int) -> None:
        self.record_id = record_id
        self._fd = fd

    def read_into(self, buffer: memoryview, count: int, offset: int) -> int:
        """Read up to `count` bytes of the file at `offset` to the start of the buffer; returns how many, 0 at its end.

        Buffer and offset begin at a page. What the buffer has beyond `count` may be written to as well.

        Raises:
            SpoolCorrupt: the disk does not give them back.
        """
        with _readable(self.record_id):
            return min(count, os.preadv(self._fd, [buffer[: whole_pages(count)]], offset))

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SpoolReader:
    """What a record says, and whether it is whole. Owned by one thread; a context manager."""

    def __init__(self, record_id: str, fd: int) -> None:
        self.record_id = record_id
        self._fd = fd

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
        with _readable(self.record_id):
            size = os.fstat(self._fd).st_size
        footer = self._read(FOOTER_BYTES, size - FOOTER_BYTES) if size >= FOOTER_BYTES else b""
        if len(footer) != FOOTER_BYTES:
            return None
        magic, data_bytes, trailer_bytes, crc, zero = _FOOTER.unpack(footer)
        content_bytes = data_bytes + trailer_bytes + FOOTER_BYTES
        fits = size in (content_bytes, whole_pages(content_bytes)) and trailer_bytes <= TRAILER_LIMIT_BYTES
        return (data_bytes, trailer_bytes, crc) if fits and (magic, zero) == (_MAGIC, 0) else None

    def _read(self, count: int, offset: int) -> bytes:
        with _readable(self.record_id):
            return os.pread(self._fd, count, offset)

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
def _readable(record_id: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SpoolCorrupt(f"spool record {record_id} cannot be read: {error.strerror}") from error


def _takes_direct_io(directory: Path) -> bool:
    """Whether files can be written around the page cache here; a full disk cannot be asked. Raises OSError."""
    path = directory / "direct"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_DIRECT, 0o600)
        try:
            return os.write(fd, page_aligned(PAGE_BYTES)) == PAGE_BYTES
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, *_DISK_FULL):
            return False
        raise
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _refusals(doing: str) -> Iterator[None]:
    """What the disk refuses, as an error of the store."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise SpoolFull("the spool's disk is full") from error
        raise StoreUnavailable(f"the spool cannot {doing}: {error.strerror}") from error
