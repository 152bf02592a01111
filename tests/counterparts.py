"""What a test needs of the real programs it talks to.

A test says `@pytest.mark.needs("orthanc", "dcmtk")`; where one of them is missing it skips, or fails with
REQUIRE_REAL=1: `conftest.py` sees to that. Programs are found and run by `gateway.ops.counterparts`.
"""

import os
from collections.abc import Iterable

from gateway.ops.counterparts import find

PROGRAMS = {
    "orthanc": ("Orthanc",),
    "dcmtk": ("storescu", "storescp", "echoscu", "dcmdump", "dcmodify"),
}
"""Each counterpart and the programs that make it up."""

HOW_TO_GET = "make counterparts  (or the system's packages orthanc and dcmtk, with their service stopped)"


def missing(counterparts: Iterable[str]) -> list[str]:
    """Those of `counterparts` of which a program is not here.

    Raises:
        KeyError: a name that is no counterpart.
    """
    return [name for name in counterparts if any(find(program) is None for program in PROGRAMS[name])]


def required() -> bool:
    """Whether a missing counterpart is a failure: REQUIRE_REAL=1."""
    return os.environ.get("REQUIRE_REAL", "0") == "1"
