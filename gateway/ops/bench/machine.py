"""Where a run takes place: what is installed, and how long this disk takes to make something durable."""

import os
import platform
import re
import tempfile
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from gateway import __version__
from gateway.errors import GatewayError
from gateway.ops.bench.result import Environment
from gateway.ops.counterparts import run_tool

SYNC_COUNT = 50
"""Syncs timed: enough for a 99th percentile that is more than the worst of a handful."""
SYNC_BYTES = 512 * 1024
"""About a CT image."""
_VERSION = re.compile(r"\d+\.\d+[\d.]*")


def look_around(scratch: Path) -> Environment:
    """Takes about a tenth of a second; `scratch` is on the disk that will hold the spool."""
    syncs_s = sorted(sync_seconds(scratch))
    return Environment(
        gateway_version=__version__,
        python_version=platform.python_version(),
        dcmtk_version=_tool_version("storescu"),
        orthanc_version=_tool_version("Orthanc"),
        pynetdicom_version=metadata.version("pynetdicom"),
        kernel=platform.release(),
        cpu_model=_cpu_model(),
        cpu_count=len(os.sched_getaffinity(0)),
        disk_sync_p50_s=syncs_s[len(syncs_s) // 2],
        disk_sync_p99_s=syncs_s[int(len(syncs_s) * 0.99)],
        load_average=os.getloadavg()[0],
    )


def sync_seconds(folder: Path, count: int = SYNC_COUNT) -> list[float]:
    """Of one fdatasync each, after a new file was written."""
    data = os.urandom(SYNC_BYTES)
    seconds = []
    for _ in range(count):
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(data)
            file.flush()
            began_at = time.monotonic()
            os.fdatasync(file.fileno())
            seconds.append(time.monotonic() - began_at)
    return seconds


def is_in_memory(folder: Path) -> bool:
    """Whether a folder is on a file system without a disk, where a sync means nothing."""
    best, kind = "", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, file_system, *_ = line.split()
        if folder.resolve().is_relative_to(mounted) and len(mounted) >= len(best):
            best, kind = mounted, file_system
    return kind in ("tmpfs", "ramfs")


def _tool_version(name: str) -> str:
    with suppress(GatewayError):
        found = _VERSION.search(run_tool(name, "--version").stdout)
        return found[0] if found else ""
    return ""


def _cpu_model() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()
