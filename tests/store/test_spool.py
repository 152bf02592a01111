"""The spool: durable before it is acknowledged, and nothing that is torn or damaged passes for a record."""

import errno
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.decision import new_id
from gateway.domain.transfer import SpoolRecord
from gateway.errors import SpoolCorrupt, SpoolFull, StoreUnavailable
from gateway.store.spool import BLANK_COUNT, FOOTER_BYTES, FREE_SPACE_CHECK_BYTES, Spool
from tests.build import record, spooled

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", 0)
    yield opened
    opened.close()


def read(spool: Spool, made: SpoolRecord) -> bytes:
    """The data set of a record."""
    data = bytearray(made.data_bytes)
    with spool.open(made.record_id) as reader:
        assert reader.read_into([memoryview(data)], 0) == made.data_bytes
    return bytes(data)


def files(spool: Spool) -> list[Path]:
    """Every file of the spool but its lock."""
    return [path for path in spool.path("0" * 32).parent.parent.rglob("*") if path.is_file() and path.name != "lock"]


# --- round trip -------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.binary(max_size=50), max_size=5), max_size=6))
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
def spool_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spool]:
    opened = Spool(tmp_path_factory.mktemp("spool"), 0)
    yield opened
    opened.close()


def test_many_tiny_fragments_at_once(spool: Spool) -> None:
    """More than one system call takes (IOV_MAX); a head may arrive in two-byte fragments."""
    data = random.Random(1).randbytes(5000)
    writer = spool.create()
    writer.write([data[start : start + 2] for start in range(0, len(data), 2)])
    made = record(data, record_id=writer.record_id)
    writer.commit(made)

    assert read(spool, made) == data


def test_data_set_is_read_in_pieces(spool: Spool) -> None:
    made = spooled(spool, bytes(range(200)))

    with spool.open(made.record_id) as reader:
        one, two = bytearray(3), bytearray(4)
        assert reader.read_into([memoryview(one), memoryview(two)], 100) == 7
    assert (bytes(one), bytes(two)) == (bytes([100, 101, 102]), bytes([103, 104, 105, 106]))


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
    writer.write([b"half of it"])
    writer.abandon()
    writer.abandon()

    assert list(spool.record_ids()) == []


def test_abandon_after_commit_keeps_the_record(spool: Spool) -> None:
    writer = spool.create()
    writer.write([b"data"])
    made = record(record_id=writer.record_id)
    writer.commit(made)
    writer.abandon()

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
    made = spooled(spool, random.Random(3).randbytes(600))
    path = spool.path(made.record_id)
    whole = path.read_bytes()

    for position in {*range(0, len(whole), 7), *range(len(whole) - FOOTER_BYTES, len(whole))}:
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
        for name in ("writev", "write", "fdatasync", "fsync", "close"):
            self._note(monkeypatch, name)

    def _note(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        original = getattr(os, name)

        def noted(fd: int, *arguments: object) -> object:
            self.calls.append((name, Path(f"/proc/self/fd/{fd}").readlink()))
            return original(fd, *arguments)

        monkeypatch.setattr(os, name, noted)

    def of(self, path: Path) -> list[str]:
        return [name for name, called in self.calls if called == path]


def test_everything_is_synced_before_commit_returns(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = spool.create()
    recorder = Recorder(monkeypatch)
    writer.write([b"one", b"two"])
    writer.write([b"three"])
    writer.commit(record(b"onetwothree", record_id=writer.record_id))
    calls = recorder.of(spool.path(writer.record_id))

    assert calls.count("fdatasync") == 1
    assert calls.index("fdatasync") > max(index for index, name in enumerate(calls) if name.startswith("write"))
    assert sum(name.startswith("write") for name in calls) >= 3


def test_names_are_durable_before_they_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    spool = Spool(tmp_path / "state" / "spool", 0)
    writer = spool.create()
    path = spool.path(writer.record_id)
    created = list(recorder.calls)

    for directory in (path.parent, tmp_path / "state" / "spool", tmp_path / "state", tmp_path):
        assert ("fsync", directory) in created, directory
    made = created.index(("fsync", path.parent))
    blanks = [index for index, (name, file) in enumerate(created) if name == "close" and file.parent == path.parent]
    assert len(blanks) == BLANK_COUNT
    assert max(blanks) < made
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
    writer = spool.create()
    refuse(monkeypatch, "writev")

    with pytest.raises(StoreUnavailable, match="cannot be written"):
        writer.write([b"data"])
    writer.abandon()


def test_disk_that_does_not_give_back(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = spooled(spool, b"data")
    with spool.open(made.record_id) as reader:
        refuse(monkeypatch, "preadv")
        refuse(monkeypatch, "pread")
        with pytest.raises(SpoolCorrupt, match="cannot be read"):
            reader.read_into([memoryview(bytearray(4))], 0)
        with pytest.raises(SpoolCorrupt, match="cannot be read"):
            reader.verify()


# --- space ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["/usr/bin/env", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    yield disk
    subprocess.run(["/usr/bin/env", "umount", disk], check=True)


def test_full_disk_refuses_records_and_loses_none(tiny_disk: Path) -> None:
    spool = Spool(tiny_disk / "spool", 0)
    kept: list[SpoolRecord] = []

    def fill() -> None:
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
        fill()

    assert 5 < len(kept) < 20
    assert sorted(spool.record_ids()) == sorted(made.record_id for made in kept)
    for made in kept:
        with spool.open(made.record_id) as reader:
            assert reader.verify() == made
    spool.remove(kept.pop().record_id)
    spooled(spool, b"there is room again")
    spool.close()


def test_disk_that_fills_up_at_the_trailer_refuses_the_record(tiny_disk: Path) -> None:
    spool = Spool(tiny_disk / "spool", 0)
    writer = spool.create()
    data = b"x" * (spool.free_bytes() & ~4095)
    writer.write([data])

    with pytest.raises(SpoolFull):
        writer.commit(record(data, record_id=writer.record_id))
    writer.abandon()

    assert list(spool.record_ids()) == []
    assert not spool.failed
    spool.close()


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
    writer = spool.create()
    writer.write([b"x" * 600_000])
    spool._count_written(FREE_SPACE_CHECK_BYTES)  # as many other records would

    with pytest.raises(SpoolFull, match="floor"):
        spool.create()
    writer.abandon()
    spool.create().abandon()
    spool.close()


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


def test_refused_opening_holds_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0)
    before = len(list(Path("/proc/self/fd").iterdir()))

    with pytest.raises(StoreUnavailable, match="in use"):
        Spool(tmp_path, 0)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    spool.close()


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
