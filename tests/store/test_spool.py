"""The spool: durable before it is acknowledged, and nothing that is torn or damaged passes for a record."""

import errno
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128_hexdigest

from gateway.domain.decision import new_id
from gateway.domain.transfer import SpoolRecord
from gateway.errors import SpoolCorrupt, SpoolFull, StoreUnavailable
from gateway.store.blanks import BLANK_COUNT
from gateway.store.pages import PAGE_BYTES, page_aligned
from gateway.store.spool import (
    BUFFER_BYTES,
    FOOTER_BYTES,
    FREE_SPACE_CHECK_BYTES,
    SPARE_BUFFERS_COUNT,
    Spool,
)
from gateway.store.trailer import encode_trailer
from tests.build import record, spooled

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=[True, False], ids=["direct", "cached"])
def direct(request: pytest.FixtureRequest) -> bool:
    """Whether data go around the page cache, where they can."""
    return bool(request.param)


@pytest.fixture
def spool(tmp_path: Path, direct: bool) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", 0, direct=direct)
    yield opened
    opened.close()


def read(spool: Spool, made: SpoolRecord, piece_bytes: int = PAGE_BYTES) -> bytes:
    """The data set of a record, read in pieces as a delivery does."""
    data = b""
    buffer = page_aligned(piece_bytes)
    with spool.open_data(made.record_id) as reader:
        while len(data) < made.data_bytes:
            count = reader.read_into(buffer, min(piece_bytes, made.data_bytes - len(data)), len(data))
            assert count
            data += buffer[:count]
    return data


def files(spool: Spool) -> list[Path]:
    """Every file of the spool but its lock."""
    return [path for path in spool.path("0" * 32).parent.parent.rglob("*") if path.is_file() and path.name != "lock"]


# --- round trip -------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.binary(max_size=50), max_size=5), max_size=6))
@settings(deadline=None)
def test_record_comes_back_as_it_was_written(spool_of_module: Spool, writes: list[list[bytes]]) -> None:
    writer = spool_of_module.create()
    for fragments in writes:
        writer.write([memoryview(fragment) for fragment in fragments])
    data = b"".join(fragment for fragments in writes for fragment in fragments)

    assert (writer.data_bytes, writer.sha256()) == (len(data), sha256(data).hexdigest())
    made = record(data, record_id=writer.record_id)
    writer.commit(made)

    with spool_of_module.open(made.record_id) as reader:
        assert reader.record() == reader.verify() == made
    assert read(spool_of_module, made) == data
    spool_of_module.remove(made.record_id)


@pytest.fixture(scope="module")
def spool_of_module(tmp_path_factory: pytest.TempPathFactory, direct: bool) -> Iterator[Spool]:
    opened = Spool(tmp_path_factory.mktemp("spool"), 0, direct=direct)
    yield opened
    opened.close()


TRAILER_BYTES = len(encode_trailer(record()))
"""About: the number of data bytes is one of its fields."""

sizes = st.builds(
    lambda multiple, end, difference: max(0, multiple - end + difference),
    st.sampled_from([0, PAGE_BYTES, BUFFER_BYTES - PAGE_BYTES, BUFFER_BYTES, 2 * BUFFER_BYTES]),
    st.sampled_from([0, FOOTER_BYTES, TRAILER_BYTES + FOOTER_BYTES]),
    st.integers(-3, 3),
)
"""Lengths of data sets whose data, trailer or footer ends about where a page or a buffer does."""

NOISE = random.Random(4).randbytes(2 * BUFFER_BYTES + 10)


@given(sizes, st.lists(st.integers(0, 2 * BUFFER_BYTES), max_size=4), st.sampled_from([1, 16, 300]))
@settings(deadline=None, max_examples=60)
def test_record_of_any_length_comes_back(
    spool_of_module: Spool, size_bytes: int, cuts: list[int], piece_pages: int
) -> None:
    data = NOISE[:size_bytes]
    writer = spool_of_module.create()
    for start, end in pairwise(sorted({0, size_bytes, *(cut for cut in cuts if cut < size_bytes)})):
        writer.write([data[start:end]])
    assert (writer.data_bytes, writer.sha256()) == (size_bytes, sha256(data).hexdigest())
    assert writer.xxh3_128() == xxh3_128_hexdigest(data)
    made = record(data, record_id=writer.record_id)
    writer.commit(made)

    with spool_of_module.open(made.record_id) as reader:
        assert reader.verify() == made
    assert read(spool_of_module, made, piece_pages * PAGE_BYTES) == data
    assert spool_of_module.path(made.record_id).stat().st_size % PAGE_BYTES == 0
    spool_of_module.remove(made.record_id)


def test_many_tiny_fragments_at_once(spool: Spool) -> None:
    """A head may arrive in two-byte fragments."""
    data = random.Random(1).randbytes(5000)
    writer = spool.create()
    writer.write([data[start : start + 2] for start in range(0, len(data), 2)])
    made = record(data, record_id=writer.record_id)
    writer.commit(made)

    assert read(spool, made) == data


def test_data_set_is_read_from_any_page(spool: Spool) -> None:
    data = random.Random(5).randbytes(3 * PAGE_BYTES)
    made = spooled(spool, data)
    buffer = page_aligned(2 * PAGE_BYTES)

    with spool.open_data(made.record_id) as reader:
        assert reader.read_into(buffer, PAGE_BYTES + 7, PAGE_BYTES) == PAGE_BYTES + 7
        assert buffer[: PAGE_BYTES + 7] == data[PAGE_BYTES : 2 * PAGE_BYTES + 7]
        assert reader.read_into(buffer, 7, 100 * PAGE_BYTES) == 0


def test_file_holds_the_record_and_nothing_else(spool: Spool) -> None:
    """Buffers are used again: what was in them shall not get into the file of another patient."""
    spooled(spool, b"secret" * (BUFFER_BYTES // 3))
    made = spooled(spool, b"data")
    content = spool.path(made.record_id).read_bytes()

    trailer = encode_trailer(made)
    assert content.startswith(b"data" + trailer)
    assert content[4 + len(trailer) : -FOOTER_BYTES].strip(b"\0") == b""
    assert len(content) == PAGE_BYTES


def test_many_write_at_once(spool: Spool) -> None:
    """More than there are spare buffers; each has its own."""
    made: list[tuple[SpoolRecord, bytes]] = []

    def write_some(number: int) -> None:
        for round_ in range(3):
            data = random.Random(100 * number + round_).randbytes(BUFFER_BYTES // 2 + number)
            made.append((spooled(spool, data), data))

    threads = [threading.Thread(target=write_some, args=(number,)) for number in range(SPARE_BUFFERS_COUNT + 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 3 * (SPARE_BUFFERS_COUNT + 4)
    assert all(read(spool, each, BUFFER_BYTES) == data for each, data in made)


def test_record_can_be_read_while_it_arrives(spool: Spool) -> None:
    data = NOISE[: 2 * BUFFER_BYTES + 10]
    buffer = page_aligned(BUFFER_BYTES)
    writer = spool.create()
    with spool.open_data(writer.record_id) as reader:
        writer.write([data[:100]])
        assert writer.written_bytes == reader.read_into(buffer, BUFFER_BYTES, 0) == 0

        writer.write([data[100 : BUFFER_BYTES + 5]])
        assert writer.written_bytes == reader.read_into(buffer, BUFFER_BYTES, 0) == BUFFER_BYTES
        assert buffer == data[:BUFFER_BYTES]
        assert reader.read_into(buffer, BUFFER_BYTES, BUFFER_BYTES) == 0

        writer.write([data[BUFFER_BYTES + 5 :]])
        assert writer.written_bytes == 2 * BUFFER_BYTES
        writer.commit(record(data, record_id=writer.record_id))
        assert reader.read_into(buffer, 10, 2 * BUFFER_BYTES) == 10
        assert buffer[:10] == data[-10:]


def test_spool_written_in_one_way_is_read_in_the_other(tmp_path: Path, direct: bool) -> None:
    data = NOISE[: BUFFER_BYTES + 1000]
    spool = Spool(tmp_path, 0, direct=direct)
    made = spooled(spool, data)
    spool.close()

    spool = Spool(tmp_path, 0, direct=not direct)
    with spool.open(made.record_id) as reader:
        assert reader.verify() == made
    assert read(spool, made, BUFFER_BYTES) == data
    spool.close()


def test_record_without_zeros_is_whole(spool: Spool) -> None:
    """As gateways of the first database schema wrote them: an upgrade loses nothing that was acknowledged."""
    data = NOISE[: PAGE_BYTES + 100]
    made = spooled(spool, data)
    path = spool.path(made.record_id)
    content, trailer = path.read_bytes(), encode_trailer(made)
    path.write_bytes(data + trailer + content[-FOOTER_BYTES:])

    assert verdict(spool, made.record_id) == "whole"
    assert read(spool, made) == data


def test_record_ids_are_those_of_all_records(spool: Spool) -> None:
    made = [spooled(spool, b"data") for _ in range(5)]

    assert sorted(spool.record_ids()) == sorted(each.record_id for each in made)


def test_records_may_be_removed_while_they_are_listed(spool: Spool) -> None:
    for _ in range(20):
        spooled(spool, b"data")

    listed = 0
    for record_id in spool.record_ids():
        listed += 1
        for other in list(spool.record_ids()):
            if other != record_id:
                spool.remove(other)

    assert listed == 1


def test_removed_record_is_gone(spool: Spool) -> None:
    made = spooled(spool, b"data")
    spool.remove(made.record_id)
    spool.remove(made.record_id)

    assert list(spool.record_ids()) == []
    with pytest.raises(SpoolCorrupt, match="cannot be read"):
        spool.open(made.record_id)


def test_abandoned_record_is_gone(spool: Spool) -> None:
    writer = spool.create()
    writer.write([b"half of it" * BUFFER_BYTES])

    assert writer.abandon()
    assert not writer.abandon()
    assert list(spool.record_ids()) == []
    assert not spool.path(writer.record_id).exists()


def test_abandon_after_commit_keeps_the_record(spool: Spool) -> None:
    writer = spool.create()
    writer.write([b"data"])
    made = record(record_id=writer.record_id)
    writer.commit(made)

    assert not writer.abandon()
    assert read(spool, made) == b"data"


# --- torn and damaged -------------------------------------------------------------------------------------------------


def verdict(spool: Spool, record_id: str) -> str:
    """What is thought of a file: whole, torn (never acknowledged) or damaged."""
    with spool.open(record_id) as reader:
        try:
            reader.verify()
        except SpoolCorrupt:
            return "torn" if reader.is_torn() else "damaged"
        return "whole"


@pytest.mark.parametrize("data", [b"", b"data", random.Random(2).randbytes(3000)])
def test_every_prefix_of_a_record_is_torn(spool: Spool, data: bytes) -> None:
    made = spooled(spool, data)
    path = spool.path(made.record_id)
    whole = path.read_bytes()
    ends = {*range(min(40, len(whole))), *range(0, len(whole), 97), *range(len(data) - 3, len(data) + 3)}
    ends |= set(range(len(whole) - FOOTER_BYTES - 5, len(whole)))

    assert verdict(spool, made.record_id) == "whole"
    for end in sorted(end for end in ends if 0 <= end < len(whole)):
        path.write_bytes(whole[:end])
        assert verdict(spool, made.record_id) == "torn", end


def test_prefix_that_ends_with_another_records_footer_is_torn(spool: Spool) -> None:
    """A peer may send a spool record as its data set; cut off right after it, it shall not pass for one."""
    inner = spooled(spool, b"data")
    content = spool.path(inner.record_id).read_bytes()
    outer = spool.create()
    outer.write([content])

    with pytest.raises(SpoolCorrupt), spool.open(outer.record_id) as reader:
        reader.verify()
    outer.abandon()


def test_every_flipped_byte_is_noticed(spool: Spool) -> None:
    """But for the zeros, which say nothing."""
    made = spooled(spool, random.Random(3).randbytes(600))
    path = spool.path(made.record_id)
    whole = path.read_bytes()
    zeros_from = 600 + len(encode_trailer(made))

    for position in {*range(0, zeros_from, 7), *range(len(whole) - FOOTER_BYTES, len(whole))}:
        damaged = bytearray(whole)
        damaged[position] ^= 0x41
        path.write_bytes(damaged)
        assert verdict(spool, made.record_id) != "whole", position


@pytest.mark.parametrize("place", ["data", "trailer"])
def test_damage_behind_a_footer_is_not_taken_for_a_torn_record(spool: Spool, place: str) -> None:
    made = spooled(spool, b"x" * 100)
    path = spool.path(made.record_id)
    damaged = bytearray(path.read_bytes())
    damaged[50 if place == "data" else 150] ^= 1
    path.write_bytes(damaged)

    assert verdict(spool, made.record_id) == "damaged"


def test_record_under_another_name_is_refused(spool: Spool) -> None:
    one, other = spooled(spool, b"data"), spooled(spool, b"data")
    spool.path(one.record_id).write_bytes(spool.path(other.record_id).read_bytes())

    with pytest.raises(SpoolCorrupt, match="another record"), spool.open(one.record_id) as reader:
        reader.record()


def test_appended_bytes_are_noticed(spool: Spool) -> None:
    made = spooled(spool, b"data")
    with spool.path(made.record_id).open("ab") as file:
        file.write(b"\x00")

    assert verdict(spool, made.record_id) == "torn"


# --- durability -------------------------------------------------------------------------------------------------------


class Recorder:
    """Notes which calls are made of the system, in order, and makes them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, Path]] = []
        self.durable_names: dict[Path, set[str]] = {}
        for name in ("write", "fdatasync", "fsync"):
            self._note(monkeypatch, name)

    def _note(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        original = getattr(os, name)

        def noted(fd: int, *arguments: object) -> object:
            path = Path(f"/proc/self/fd/{fd}").readlink()
            self.calls.append((name, path))
            if path.is_dir():
                self.durable_names[path] = set(os.listdir(path))
            return original(fd, *arguments)

        monkeypatch.setattr(os, name, noted)

    def of(self, path: Path) -> list[str]:
        return [name for name, called in self.calls if called == path]


@pytest.mark.parametrize(("size_bytes", "write_count"), [(10, 1), (BUFFER_BYTES, 2), (3 * BUFFER_BYTES, 4)])
def test_everything_is_synced_before_commit_returns(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, size_bytes: int, write_count: int
) -> None:
    data = bytes(size_bytes)
    writer = spool.create()
    recorder = Recorder(monkeypatch)
    writer.write([data[:5], data[5:]])
    writer.commit(record(data, record_id=writer.record_id))

    assert recorder.of(spool.path(writer.record_id)) == ["write"] * write_count + ["fdatasync"]


def test_names_are_durable_before_they_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    spool = Spool(tmp_path / "state" / "spool", 0)
    writer = spool.create()
    path = spool.path(writer.record_id)

    for name in (path, path.parent, tmp_path / "state" / "spool", tmp_path / "state"):
        assert name.name in recorder.durable_names[name.parent], name
    assert len(recorder.durable_names[path.parent]) == BLANK_COUNT
    writer.abandon()
    spool.close()


def test_shard_left_by_a_crash_is_made_durable_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been made, and not synced, right before the process ended."""
    (tmp_path / "spool" / "ab").mkdir(parents=True)
    recorder = Recorder(monkeypatch)

    Spool(tmp_path / "spool", 0).close()

    assert ("fsync", tmp_path / "spool") in recorder.calls


def test_one_directory_sync_for_many_records(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    for _ in range(BLANK_COUNT):
        spooled(spool, b"data")

    names = [name for name, _ in recorder.calls]
    assert names.count("fdatasync") == BLANK_COUNT
    assert names.count("fsync") <= 2  # the shard, and the directory it is new in


def inodes(spool: Spool) -> set[int]:
    return {path.stat().st_ino for path in files(spool)}


def test_files_of_released_records_are_emptied_and_used_again(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [spooled(spool, b"data") for _ in range(BLANK_COUNT)]
    used = {spool.path(each.record_id).stat().st_ino for each in made}
    for each in made:
        spool.release(each.record_id)

    assert list(spool.record_ids()) == []
    assert not any(spool.path(each.record_id).exists() for each in made)
    assert used <= inodes(spool)
    assert sum(path.stat().st_size for path in files(spool)) == 0

    recorder = Recorder(monkeypatch)
    again = [spooled(spool, b"more") for _ in range(BLANK_COUNT)]
    names = [name for name, _ in recorder.calls]
    assert {spool.path(each.record_id).stat().st_ino for each in again} == used
    assert {each.record_id for each in again}.isdisjoint(each.record_id for each in made)
    assert names.index("fsync") < names.index("fdatasync"), "the new names are durable before the first is used"
    assert [read(spool, each) for each in again] == [b"more"] * BLANK_COUNT


def test_no_more_files_are_kept_than_will_be_used(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.store.blanks.REUSED_COUNT", 3)
    made = [spooled(spool, b"data") for _ in range(BLANK_COUNT)]
    for each in made:
        spool.release(each.record_id)

    assert len(files(spool)) == 3


def test_emptied_files_go_with_the_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 0)
    spool.release(spooled(spool, b"data").record_id)
    spool.close()

    assert files(spool) == []


def test_who_reads_a_record_that_is_removed_never_sees_another_one(spool: Spool) -> None:
    """An early delivery may still read what its sender has just broken off."""
    made = [spooled(spool, b"one patient") for _ in range(BLANK_COUNT)]
    readers = [spool.open_data(each.record_id) for each in made]
    for each in made:
        spool.remove(each.record_id)
    for _ in range(2 * BLANK_COUNT):
        spooled(spool, b"the other one")

    for reader in readers:
        buffer = page_aligned(PAGE_BYTES)
        assert reader.read_into(buffer, 11, 0) == 11
        assert bytes(buffer[:11]) == b"one patient"
        reader.close()


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, number: int = errno.EIO) -> None:
    """From now on the disk fails this system call."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, fail)


def test_failed_sync_stops_the_spool(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    other = spool.create()
    other.write([b"data"])
    writer = spool.create()
    writer.write([b"data"])
    refuse(monkeypatch, "fdatasync")

    with pytest.raises(StoreUnavailable, match="failed to sync"):
        writer.commit(record(record_id=writer.record_id))
    monkeypatch.undo()  # the next sync would succeed, and mean nothing: the kernel forgets what it could not write

    assert spool.failed
    with pytest.raises(StoreUnavailable, match="restarts"):
        spool.create()
    with pytest.raises(StoreUnavailable, match="restarts"):
        other.commit(record(record_id=other.record_id))
    for each in (writer, other):
        each.abandon()
    assert list(spool.record_ids()) == []


def test_failed_sync_of_a_directory_stops_the_spool(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "fsync")

    with pytest.raises(StoreUnavailable):
        spool.create()
    monkeypatch.undo()

    assert spool.failed
    with pytest.raises(StoreUnavailable, match="restarts"):
        spool.create()


def test_disk_that_refuses_to_delete_is_an_error_of_the_store(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = spooled(spool, b"data")
    refuse(monkeypatch, "unlink", errno.EROFS)

    with pytest.raises(StoreUnavailable, match="Read-only"):
        spool.remove(made.record_id)


def test_disk_that_refuses_to_write(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = spool.create(), spool.create()
    refuse(monkeypatch, "write")

    with pytest.raises(StoreUnavailable, match="cannot be written"):
        large.write([bytes(BUFFER_BYTES + 1)])
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        small.commit(record(record_id=small.record_id))
    assert large.abandon()
    assert small.abandon()
    assert not spool.failed


def test_disk_that_does_not_give_back(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = spooled(spool, b"data")
    with spool.open(made.record_id) as reader, spool.open_data(made.record_id) as data:
        refuse(monkeypatch, "preadv")
        refuse(monkeypatch, "pread")
        with pytest.raises(SpoolCorrupt, match="cannot be read"):
            data.read_into(page_aligned(PAGE_BYTES), 4, 0)
        with pytest.raises(SpoolCorrupt, match="cannot be read"):
            reader.verify()


# --- around the page cache --------------------------------------------------------------------------------------------


@contextmanager
def mounted(directory: Path, kind: str, *options: str) -> Iterator[Path]:
    """A file system of its own for as long as the block takes."""
    directory.mkdir()
    mount = subprocess.run(
        ["/usr/bin/env", "mount", "-t", kind, *options, kind, directory], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"mounting a {kind} is not permitted here")
    try:
        yield directory
    finally:
        # Lazily: a test that failed may have left something open there.
        subprocess.run(["/usr/bin/env", "umount", "--lazy", directory], check=True)


def flags_of_open(path: Path) -> int:
    """How the only descriptor of a file was opened, says the kernel."""
    (fd,) = (
        link.name for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and os.readlink(link) == f"{path}"
    )
    fields = dict(line.split(":\t") for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines())
    return int(fields["flags"], 8)


def allows_direct_io(directory: Path) -> bool:
    path = directory / "asked"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600))
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)
    return True


def test_data_go_around_the_page_cache_or_not(spool: Spool, direct: bool, tmp_path: Path) -> None:
    if direct and not allows_direct_io(tmp_path):
        pytest.skip("this file system always uses the page cache")

    writer = spool.create()
    assert bool(flags_of_open(spool.path(writer.record_id)) & os.O_DIRECT) == spool.is_direct == direct
    writer.commit(made := record(b"", record_id=writer.record_id))

    with spool.open_data(made.record_id):
        assert bool(flags_of_open(spool.path(made.record_id)) & os.O_DIRECT) == direct
    with spool.open(made.record_id):  # reads a trailer at whatever place it is
        assert not flags_of_open(spool.path(made.record_id)) & os.O_DIRECT


def test_file_system_that_always_uses_the_page_cache(tmp_path: Path) -> None:
    data = NOISE[: BUFFER_BYTES + 1000]
    with mounted(tmp_path / "disk", "ramfs") as disk:
        spool = Spool(disk / "spool", 0)
        assert not spool.is_direct
        assert os.listdir(disk / "spool") == ["lock"]
        made = spooled(spool, data)
        assert read(spool, made) == data
        spool.close()


def test_looking_for_what_a_file_system_can_do_leaves_nothing_behind(spool: Spool) -> None:
    assert sorted(os.listdir(spool.path("0" * 32).parent.parent)) == ["lock"]


# --- space ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    with mounted(tmp_path / "disk", "tmpfs", "-o", "size=1m") as disk:
        yield disk


def fill(disk: Path) -> None:
    """Leave no room at all."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(PAGE_BYTES)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017  # the way out of the loop


def test_full_disk_is_opened_for_what_is_on_it(tiny_disk: Path, direct: bool) -> None:
    """To deliver is what makes room."""
    spool = Spool(tiny_disk / "spool", 0, direct=direct)
    made = spooled(spool, b"data")
    spool.close()
    fill(tiny_disk)

    spool = Spool(tiny_disk / "spool", 0, direct=direct)

    assert read(spool, made) == b"data"
    writer = spool.create()
    with pytest.raises(SpoolFull):
        writer.commit(record(record_id=writer.record_id))
    writer.abandon()
    spool.close()


def test_full_disk_refuses_records_and_loses_none(tiny_disk: Path, direct: bool) -> None:
    spool = Spool(tiny_disk / "spool", 0, direct=direct)
    kept: list[SpoolRecord] = []

    def spool_many() -> None:
        while len(kept) < 100:
            writer = spool.create()
            try:
                writer.write([b"x" * 30_000, b"y" * 30_000])
                made = record(b"x" * 30_000 + b"y" * 30_000, record_id=writer.record_id)
                writer.commit(made)
            finally:
                writer.abandon()
            kept.append(made)

    with pytest.raises(SpoolFull, match="full"):
        spool_many()

    assert 5 < len(kept) < 20
    assert sorted(spool.record_ids()) == sorted(made.record_id for made in kept)
    for made in kept:
        with spool.open(made.record_id) as reader:
            assert reader.verify() == made
    spool.remove(kept.pop().record_id)
    spooled(spool, b"there is room again")
    spool.close()


def test_disk_that_fills_up_at_the_trailer_refuses_the_record(
    tiny_disk: Path, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tiny_disk / "spool", 0, direct=direct)
    writer = spool.create()
    data = bytes(spool.free_bytes() // PAGE_BYTES * PAGE_BYTES)
    writer.write([data])
    original, counts = os.write, list[int]()

    def write(fd: int, content: memoryview) -> int:
        counts.append(original(fd, content))
        return counts[-1]

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(SpoolFull):
        writer.commit(record(data, record_id=writer.record_id))
    assert sum(counts) == len(data), "the disk took all but the trailer"
    writer.abandon()

    assert list(spool.record_ids()) == []
    assert not spool.failed
    spool.close()


def test_disk_that_takes_a_part_at_a_time(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: original(fd, content[:PAGE_BYTES]))

    made = spooled(spool, data := NOISE[: BUFFER_BYTES + 10])

    assert read(spool, made) == data


def test_nothing_is_accepted_below_the_floor(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 62)

    with pytest.raises(SpoolFull, match="floor"):
        spool.create()
    with pytest.raises(SpoolFull, match="floor"):
        spool.create()
    spool.close()


def test_space_is_asked_for_again_after_a_while(tiny_disk: Path) -> None:
    """The floor is reached by many records, none of which is large."""
    spool = Spool(tiny_disk / "spool", 500_000)
    made = spooled(spool, b"x" * 600_000)
    spool._count_written(FREE_SPACE_CHECK_BYTES)  # as many other records would

    with pytest.raises(SpoolFull, match="floor"):
        spool.create()
    spool.remove(made.record_id)
    spool.create().abandon()
    spool.close()


def test_what_is_still_arriving_counts_as_written(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several large instances at once are not to pass the floor together."""
    monkeypatch.setattr("gateway.store.spool.FREE_SPACE_CHECK_BYTES", BUFFER_BYTES)
    spool.create().abandon()  # asks, and then not again for a while
    writer = spool.create()
    monkeypatch.setattr(Spool, "free_bytes", lambda _: -1)
    spool.create().abandon()
    writer.write([bytes(BUFFER_BYTES + 1)])

    with pytest.raises(SpoolFull, match="floor"):
        spool.create()
    writer.abandon()


# --- who may use it, and what is in it --------------------------------------------------------------------------------

OPEN = """
import sys
from pathlib import Path
from gateway.errors import StoreUnavailable
from gateway.store.spool import Spool
try:
    Spool(Path(sys.argv[1]), 0)
except StoreUnavailable as error:
    print(error)
"""


def open_elsewhere(directory: Path) -> str:
    """What another process is told when it opens the spool."""
    return subprocess.run(
        [sys.executable, "-c", OPEN, directory], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_one_process_at_a_time(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0)
    assert "in use by another gateway process" in open_elsewhere(tmp_path)

    spool.close()
    assert open_elsewhere(tmp_path) == ""


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_refused_opening_holds_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0)
    before = open_files()

    with pytest.raises(StoreUnavailable, match="in use"):
        Spool(tmp_path, 0)

    assert open_files() == before
    spool.close()


def test_closed_spool_holds_nothing(tmp_path: Path, direct: bool) -> None:
    before = open_files()
    spool = Spool(tmp_path, 0, direct=direct)
    made = spooled(spool, b"data")
    spool.create().abandon()
    with spool.open(made.record_id), spool.open_data(made.record_id):
        pass
    spool.close()

    assert open_files() == before


def test_refused_blanks_hold_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors when half of them are made."""
    original, left = os.open, list(range(BLANK_COUNT // 2))

    def few(*arguments: object, **named: object) -> int:
        if not left:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        left.pop()
        return original(*arguments, **named)  # type: ignore[arg-type]

    before = open_files()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", few)
        with pytest.raises(StoreUnavailable, match="Too many open files"):
            spool.create()
    assert open_files() == before

    assert spooled(spool, b"data").data_bytes == 4


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable, match="cannot be used"):
        Spool(tmp_path / "file" / "spool", 0)


def test_files_are_for_the_gateway_alone(spool: Spool) -> None:
    made = spooled(spool, b"data")
    path = spool.path(made.record_id)

    assert [each.stat().st_mode & 0o777 for each in (path, path.parent, path.parent.parent)] == [0o600, 0o700, 0o700]


@pytest.mark.parametrize(
    "record_id",
    ["", "..", "../../etc/passwd", "/etc/passwd", "ab/../../x", "lock", "A" * 32, "0" * 31, "0" * 33, "0" * 31 + "\n"],
)
def test_no_name_leads_out_of_the_spool(spool: Spool, record_id: str) -> None:
    with pytest.raises(SpoolCorrupt, match="no spool record"):
        spool.open(record_id)
    with pytest.raises(SpoolCorrupt, match="no spool record"):
        spool.remove(record_id)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    """A volume of its own has a lost+found; operators leave notes."""
    spool = Spool(tmp_path, 0)
    made = spooled(spool, b"data")
    others = [
        tmp_path / "lost+found" / new_id(),
        tmp_path / "notes.txt",
        spool.path(made.record_id).with_name("notes.txt"),
        spool.path(made.record_id).with_name(made.record_id + ".bak"),
        tmp_path / "zz" / "empty",
    ]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(b"" if other.name == "empty" else b"note")

    assert list(spool.record_ids()) == [made.record_id]
    spool.remove_blanks()

    assert all(other.exists() for other in others)
    spool.close()


def test_blanks_are_no_records_and_are_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0)
    made = spooled(spool, b"data")
    assert len(files(spool)) == BLANK_COUNT
    assert list(spool.record_ids()) == [made.record_id]

    spool.remove_blanks()
    assert files(spool) == [spool.path(made.record_id)]
    spool.close()


def test_closing_removes_unused_blanks(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0)
    made = spooled(spool, b"data")
    spool.close()
    spool.close()

    assert files(spool) == [spool.path(made.record_id)]
