"""Contents named by their digest. The oracle is hashlib over what went in, and the file system."""

import errno
import hashlib
import os
import resource
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.documents.blobs import BlobStore
from gateway.errors import StoreUnavailable


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def keep(store: BlobStore, content: bytes) -> str:
    writer = store.writer()
    writer.write(content)
    return writer.commit()


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_a_content_is_kept_under_its_digest(store: BlobStore, tmp_path: Path) -> None:
    content = os.urandom(100_000)
    sha256 = keep(store, content)

    assert sha256 == hashlib.sha256(content).hexdigest()
    assert files(tmp_path / "blobs") == [f"{sha256[:2]}/{sha256}"]
    assert (tmp_path / "blobs" / sha256[:2] / sha256).read_bytes() == content


@settings(deadline=None, max_examples=50)  # each syncs files
@given(pieces=st.lists(st.binary(max_size=200), max_size=8))
def test_any_split_gives_the_same(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    directory = tmp_path_factory.mktemp("split")
    writer = BlobStore(directory).writer()
    for piece in pieces:
        writer.write(memoryview(piece))
    content = b"".join(pieces)

    assert writer.size_bytes == len(content)
    assert writer.head(16) == content[:16]
    assert writer.tail(16) == content[-16:]
    assert writer.commit() == hashlib.sha256(content).hexdigest()


def test_the_same_bytes_twice_are_one_file(store: BlobStore, tmp_path: Path) -> None:
    first = keep(store, b"same")
    inode = (tmp_path / "blobs" / first[:2] / first).stat().st_ino

    assert keep(store, b"same") == first
    assert (tmp_path / "blobs" / first[:2] / first).stat().st_ino == inode
    assert len(files(tmp_path / "blobs")) == 1


def test_the_same_bytes_at_the_same_time_are_one_file(store: BlobStore, tmp_path: Path) -> None:
    together = threading.Barrier(8)
    kept: list[str] = []

    def run() -> None:
        together.wait()
        kept.append(keep(store, b"at once"))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert kept == [hashlib.sha256(b"at once").hexdigest()] * 8
    assert len(files(tmp_path / "blobs")) == 1


def test_what_is_abandoned_is_gone(store: BlobStore, tmp_path: Path) -> None:
    writer = store.writer()
    writer.write(b"x" * 10_000)
    writer.abandon()
    writer.abandon()

    assert files(tmp_path / "blobs") == []
    with pytest.raises(StoreUnavailable):
        writer.write(b"more")
    with pytest.raises(StoreUnavailable):
        writer.commit()


def test_what_a_crash_left_is_removed_when_asked(store: BlobStore, tmp_path: Path) -> None:
    kept = keep(store, b"whole")
    store.writer().write(b"torn")
    again = BlobStore(tmp_path / "blobs")
    assert len(files(tmp_path / "blobs")) == 2

    again.remove_unfinished()

    assert files(tmp_path / "blobs") == [f"{kept[:2]}/{kept}"]


def test_nobody_else_reads_the_files(store: BlobStore, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        sha256 = keep(BlobStore(tmp_path / "other"), b"content")
    finally:
        os.umask(before)
    path = tmp_path / "other" / sha256[:2] / sha256

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "other" / "part").stat().st_mode) == 0o700


def test_a_reader_gives_the_bytes(store: BlobStore) -> None:
    reader = store.open(keep(store, b"0123456789"))

    assert reader.size_bytes == 10
    assert reader.read(4, 0) == b"0123"
    assert reader.read(100, 8) == b"89"
    assert reader.read(1, 10) == b""
    reader.close()


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "a" * 63, "A" * 64, "g" * 64, "a" * 64 + "\n"])
def test_only_a_digest_becomes_a_path(store: BlobStore, name: str) -> None:
    with pytest.raises(StoreUnavailable, match="digest"):
        store.open(name)


def test_a_content_that_is_not_there(store: BlobStore) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        store.open("a" * 64)


def test_a_symbolic_link_is_not_followed(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "blobs" / "aa").mkdir()
    (tmp_path / "blobs" / "aa" / ("a" * 64)).symlink_to(tmp_path / "secret")

    with pytest.raises(StoreUnavailable):
        store.open("a" * 64)


def test_free_space_below_the_floor(tmp_path: Path) -> None:
    """Documents leave the space in which a withdrawal has to be registered."""
    volume = os.statvfs(tmp_path)
    writer = BlobStore(tmp_path / "blobs", volume.f_blocks * volume.f_frsize).writer()
    with pytest.raises(StoreUnavailable, match="below its floor; make room"):
        writer.write(b"content")
    writer.abandon()
    assert files(tmp_path / "blobs") == []


def test_a_disk_that_refuses(store: BlobStore, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: the write fails part of the way."""
    writer = store.writer()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreUnavailable, match=os.strerror(errno.EFBIG)):
            writer.write(b"x" * 8192)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.abandon()

    assert files(tmp_path / "blobs") == []


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable, match="cannot be used"):
        BlobStore(tmp_path / "file")
