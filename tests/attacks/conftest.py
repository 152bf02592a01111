"""One gateway for all attacks; after each of them it must be as good as before."""

from collections.abc import Iterator

import pytest

from tests.attacks.victim import GOOD, GOOD_ADDRESS, LIMITS, Victim
from tests.scp.sink import running_sink
from tests.scp.site import DESTINATION, process_site

CANARIES = ("canary", "yellow", "c\\u0061nary", "900101", "1234567", "43414e415259")
"""Parts of the names and numbers of every patient of these tests, also in hexadecimal digits."""


@pytest.fixture(scope="session")
def _victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    with running_sink() as sink, process_site(tmp_path_factory.mktemp("victim") / "node", sink.port, **LIMITS) as site:
        site.ae(GOOD, addresses=(f"{GOOD_ADDRESS}/32",))
        site.route("good", DESTINATION, calling=GOOD)
        victim = Victim(site)
        victim.check_slots()
        victim.good.start()
        victim.warm_up()
        yield victim
        victim.good.stop()
        site.wait_until_settled()
        log = site.log.casefold()
        assert [canary for canary in CANARIES if canary in log] == []


@pytest.fixture
def victim(_victim: Victim) -> Iterator[Victim]:
    yield _victim
    _victim.check_aftermath()
