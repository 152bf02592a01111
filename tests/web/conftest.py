"""One server for all tests of the REST interface; each test has hospitals of its own."""

from collections.abc import Iterator

import pytest

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
