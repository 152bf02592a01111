"""One destination and one gateway for each module of tests; every test uses UIDs of its own."""

from collections.abc import Iterator

import pytest

from tests.scp.raw import RawPeer
from tests.scp.sink import Sink, running_sink
from tests.scp.site import RunningSite, running_site, settings


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def site(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSite]:
    with running_site(settings(tmp_path_factory.mktemp("site")), sink.port) as site:
        yield site


@pytest.fixture
def peer(site: RunningSite) -> Iterator[RawPeer]:
    """The registered sender with an association; released afterwards, which only works if it is still in order."""
    with RawPeer(site.port) as peer:
        peer.associate()
        yield peer
        peer.release()
