"""Pythons that tests start, and whether any of them is still there."""

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def environment(**variables: str) -> dict[str, str]:
    """Of a process that imports the gateway of this checkout.

    Where Python may not keep its bytecode beside the sources, it may keep it in pytest's cache: otherwise every
    process started compiles everything anew, which takes seconds.
    """
    found = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    if sys.dont_write_bytecode:
        found |= {
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(REPOSITORY / ".pytest_cache" / "bytecode"),
        }
    return found | variables


def processes_with(variable: str, value: str) -> list[int]:
    """The ids of all processes that were started with this in their environment, by us or by those we started."""
    wanted = f"{variable}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:  # ended meanwhile, or not ours
                continue
            if wanted in variables:
                found.append(int(entry.name))
    return found
