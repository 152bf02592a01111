"""A disk that is really full: a small file system in memory, mounted for the test where that is allowed."""

import os
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.faults.proxy import NO_FAULT, Fault, running_proxy
from tests.faults.test_destination import IMPATIENT, Line
from tests.scp.raw import RawPeer, data_set, new_uid
from tests.scp.sink import running_sink
from tests.scp.site import CONSENTING, STRANGER, running_site, settings
from tests.wait import wait_until

DISK_BYTES = 48 << 20
FLOOR_BYTES = 16 << 20
"""The least that may be configured; it is looked at again after each 64 MiB, so the disk fills up before."""

SUCCESS, NOT_AUTHORIZED, OUT_OF_RESOURCES = 0x0000, 0x0124, 0xA700


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 48 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["/usr/bin/env", "mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip() or 'no mount'}")
    try:
        yield folder
    finally:
        subprocess.run(["/usr/bin/env", "umount", "-l", str(folder)], check=True)


@pytest.fixture
def line(disk: Path) -> Iterator[Line]:
    """A gateway whose state is on that disk; its destination refuses connections for now."""
    small = settings(disk / "state").model_copy(update={"delivery": IMPATIENT})
    with running_sink() as sink, running_proxy(sink.port) as proxy, running_site(small, proxy.port) as site:
        proxy.fault = Fault(refuses=True)
        yield Line(site, proxy, sink)


def free_bytes(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def fill(disk: Path, leave_bytes: int) -> Path:
    """A file that takes all but so many bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        while (count := min(free_bytes(disk) - leave_bytes, 1 << 20)) > 0:
            file.write(bytes(count))
            file.flush()
    return ballast


def test_a_full_disk_refuses_loses_nothing_and_recovers(line: Line, disk: Path) -> None:
    acknowledged = line.store(4, size_bytes=1 << 20)
    ballast = fill(disk, leave_bytes=5 << 20)
    refusals = 0
    with RawPeer(line.site.port) as peer:
        peer.associate()
        for _ in range(12):
            uid = new_uid()
            data = data_set(uid, CONSENTING, pixels=bytes(1 << 20))
            status = peer.store(uid, data)
            assert status in (SUCCESS, OUT_OF_RESOURCES)
            if status == SUCCESS:
                acknowledged[uid] = sha256(data).hexdigest()
            refusals += status == OUT_OF_RESOURCES
        assert refusals >= 6
        assert peer.echo() == SUCCESS

        ballast.unlink()
        uid = new_uid()
        data = data_set(uid, CONSENTING, pixels=bytes(1 << 20))
        wait_until(lambda: peer.store(uid, data) == SUCCESS)
        acknowledged[uid] = sha256(data).hexdigest()
        peer.release()

    line.proxy.fault = NO_FAULT
    wait_until(lambda: acknowledged.keys() <= line.sink.digests.keys(), 20.0)
    assert line.sink.digests == {uid: {digest} for uid, digest in acknowledged.items()}


def test_what_was_acknowledged_on_a_full_disk_arrives_after_a_restart(line: Line, disk: Path) -> None:
    acknowledged = line.store(4, size_bytes=1 << 20)
    ballast = fill(disk, leave_bytes=3 << 20)
    with RawPeer(line.site.port) as peer:
        peer.associate()
        statuses = []
        for _ in range(8):
            uid = new_uid()
            data = data_set(uid, CONSENTING, pixels=bytes(1 << 20))
            statuses.append(peer.store(uid, data))
            if statuses[-1] == SUCCESS:
                acknowledged[uid] = ""
        peer.release()
    assert OUT_OF_RESOURCES in statuses
    line.site.stop()
    ballast.unlink()
    line.proxy.fault = NO_FAULT

    line.site.start()
    wait_until(lambda: acknowledged.keys() <= line.sink.digests.keys(), 20.0)


def test_below_the_floor_nothing_is_accepted(disk: Path) -> None:
    small = settings(disk / "state").model_copy(update={"delivery": IMPATIENT})
    fill(disk, leave_bytes=FLOOR_BYTES - (1 << 20))
    with running_site(small, 1) as site, RawPeer(site.port) as peer:
        peer.associate()
        uid = new_uid()
        assert peer.store(uid, data_set(uid, CONSENTING)) == OUT_OF_RESOURCES
        assert site.spooled() == []
        (disk / "ballast").unlink()
        wait_until(lambda: peer.store(uid, data_set(uid, CONSENTING)) == SUCCESS)
        peer.release()


def test_without_a_byte_left_every_answer_is_for_now(line: Line, disk: Path) -> None:
    """Not even a denial is given that could not be recorded."""
    ballast = fill(disk, leave_bytes=0)
    with RawPeer(line.site.port) as peer:
        peer.associate()

        def answered(patient_id: str) -> int:
            uid = new_uid()
            return peer.store(uid, data_set(uid, patient_id))

        assert answered(CONSENTING) == OUT_OF_RESOURCES
        assert answered(STRANGER) == OUT_OF_RESOURCES
        assert peer.echo() == SUCCESS
        ballast.unlink()
        wait_until(lambda: answered(STRANGER) == NOT_AUTHORIZED)
        wait_until(lambda: answered(CONSENTING) == SUCCESS)
        peer.release()
