"""The real programs that tests talk to, and what a test needs of them.

A test says `@pytest.mark.needs("orthanc", "dcmtk")` and asks `path("storescu")` for a program. Where a
counterpart is missing the test skips, or fails with REQUIRE_REAL=1; `conftest.py` sees to that.
"""

import os
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

PROGRAMS = {
    "orthanc": ("Orthanc",),
    "dcmtk": ("storescu", "storescp", "echoscu", "dcmdump", "dcmodify"),
}
"""Each counterpart and the programs that make it up."""

HOW_TO_GET = "make counterparts  (or the system's packages orthanc and dcmtk, with their service stopped)"


def find(program: str) -> Path | None:
    """Where `program` is: unpacked beside the checkout, else in the system's folders.

    The PATH is not searched: pynetdicom puts programs of DCMTK's names there.
    """
    private = Path(os.environ.get("GATEWAY_COUNTERPARTS") or REPOSITORY / ".counterparts")
    for folder in (private / "bin", Path("/usr/sbin"), Path("/usr/bin")):
        candidate = folder / program
        if os.access(candidate, os.X_OK):
            return candidate
    return None


def path(program: str) -> Path:
    """Where `program` is. Only for tests marked as needing its counterpart, so that it is there."""
    found = find(program)
    if found is None:
        raise FileNotFoundError(f"{program} is not here; mark the test with needs(...); {HOW_TO_GET}")
    return found


def missing(counterparts: Iterable[str]) -> list[str]:
    """Those of `counterparts` of which a program is not here.

    Raises:
        KeyError: a name that is no counterpart.
    """
    return [name for name in counterparts if any(find(program) is None for program in PROGRAMS[name])]


def required() -> bool:
    """Whether a missing counterpart is a failure: REQUIRE_REAL=1."""
    return os.environ.get("REQUIRE_REAL", "0") == "1"
