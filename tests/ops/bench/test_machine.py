"""The description of the machine is filled in, and agrees with the tools' own words."""

from pathlib import Path

import pytest

from gateway import __version__
from gateway.ops.bench.machine import SYNC_COUNT, is_in_memory, look_around, sync_seconds
from gateway.ops.counterparts import run_tool


@pytest.mark.needs("orthanc", "dcmtk")
def test_the_machine_is_described(tmp_path: Path) -> None:
    environment = look_around(tmp_path)

    assert environment.gateway_version == __version__
    assert environment.dcmtk_version in run_tool("storescu", "--version").stdout
    assert environment.orthanc_version in run_tool("Orthanc", "--version").stdout
    assert all((environment.dcmtk_version, environment.orthanc_version, environment.cpu_model, environment.kernel))
    assert environment.cpu_count > 0
    assert 0 < environment.disk_sync_p50_s <= environment.disk_sync_p99_s


def test_without_the_tools_their_versions_are_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.ops.counterparts.find", lambda _: None)

    environment = look_around(tmp_path)
    assert (environment.dcmtk_version, environment.orthanc_version) == ("", "")


def test_every_sync_is_timed(tmp_path: Path) -> None:
    assert len(sync_seconds(tmp_path, 3)) == 3
    assert list(tmp_path.iterdir()) == []
    assert SYNC_COUNT > 3


def test_memory_is_no_disk() -> None:
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    in_memory = [folder for folder, kind in mounts if kind == "tmpfs" and Path(folder).is_dir()]
    if not in_memory:
        pytest.skip("nothing is mounted in memory here")
    assert is_in_memory(Path(in_memory[-1]))
    assert not is_in_memory(Path("/proc"))
