"""One server for all tests of the REST interface; each test has hospitals of its own."""

import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from gateway import log
from tests.web.serving import Hospital, Served, serving


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def a(served: Served) -> Iterator[Hospital]:
    """Hospital A."""
    hospital = Hospital(served)
    yield hospital
    hospital.close()


@pytest.fixture
def b(served: Served) -> Iterator[Hospital]:
    """Hospital B."""
    hospital = Hospital(served)
    yield hospital
    hospital.close()


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the process logs meanwhile, as `gateway serve` would write it."""
    root, ours = logging.getLogger(), logging.getLogger("gateway")
    before = root.handlers[:], root.level, ours.level
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning)
    stream = io.StringIO()
    log.configure("debug", "json", stream)
    yield stream
    root.handlers[:], root.level, ours.level = before[0], before[1], before[2]
    sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks
