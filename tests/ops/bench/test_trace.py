"""System calls are counted: as strace's table has them, and, where it may look, as a process makes them."""

import subprocess
import sys

import pytest

from gateway.ops.bench.trace import counted, counts_in, strace

TABLE = """\
syscall              calls
---------------- ---------
fdatasync               12
read                   530
---------------- ---------
total                  542
"""
A_SYNC_FOR_EACH_LINE = """
import os, sys, tempfile
file = tempfile.TemporaryFile()
print(flush=True)
for _ in sys.stdin:
    os.fsync(file)
    print(flush=True)
"""


def test_the_table_is_read() -> None:
    assert counts_in(TABLE) == {"fdatasync": 12, "read": 530}
    assert counts_in("") == {}


def test_nobody_makes_no_calls() -> None:
    with counted(None) as calls:
        pass
    assert (calls.total, calls.syncs) == (0, 0)


@pytest.mark.skipif(strace() is None, reason="strace is not here")
def test_syncs_of_a_process_are_counted() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", A_SYNC_FOR_EACH_LINE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        with counted(process.pid) as calls:
            for _ in range(3):
                process.stdin.write(b"\n")
                process.stdin.flush()
                process.stdout.readline()
        process.stdin.close()
    if not calls.total:
        pytest.skip("strace may not look at other processes here")
    assert calls.syncs == 3
    assert calls.total > 6
