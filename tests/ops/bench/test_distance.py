"""How many associations a distance needs."""

from dataclasses import replace

import pytest

from gateway.ops.bench.distance import knee, knees_of, rates_of
from gateway.ops.bench.summary import summarize
from tests.ops.bench.runs import RUN, far


@pytest.mark.parametrize(
    ("rates", "associations", "is_open"),
    [
        ({1: 10.0, 2: 20.0, 4: 38.0, 8: 40.0, 16: 39.0}, 4, False),
        ({1: 10.0, 2: 20.0, 4: 40.0}, 4, True),
        ({1: 40.0, 2: 40.0, 4: 40.0}, 1, False),
        ({1: 30.0, 2: 40.0, 4: 20.0}, 2, False),
        ({1: 8.9, 2: 9.0, 4: 10.0}, 2, False),
        ({4: 10.0}, 4, False),
    ],
)
def test_the_knee_is_the_fewest_that_are_nearly_as_good(
    rates: dict[int, float], associations: int, is_open: bool
) -> None:
    found = knee("ct", "20 ms", rates)

    assert (found.associations, found.rate, found.is_open) == (associations, rates[associations], is_open)
    assert found.times_one == pytest.approx(rates[associations] / rates[min(rates)])


def test_rates_by_link_the_nearest_first() -> None:
    rates = rates_of(summarize(RUN))

    assert list(rates) == ["ct"]
    assert list(rates["ct"]) == ["0 ms", "20 ms", "100 ms"]
    assert list(rates["ct"]["20 ms"]) == [1, 2, 4, 8, 16, 32]
    assert rates["ct"]["20 ms"][1] == pytest.approx(52.4 / 2.2)


def test_a_rate_is_the_median_of_its_rounds() -> None:
    run = replace(RUN, samples=tuple(replace(far(20, 4, s), round=n) for n, s in enumerate((1.0, 9.0, 2.0), 1)))

    assert rates_of(summarize(run)) == {"ct": {"20 ms": {4: pytest.approx(26.2)}}}


def test_what_is_said() -> None:
    near, _, distant = knees_of(summarize(RUN))

    assert str(near) == ("ct over 0 ms: delivery.associations = 1 (262.0 MB/s, 1.0 times as much as with the fewest)")
    assert str(distant).startswith("ct over 100 ms: delivery.associations = 32 (")
    assert str(distant).endswith("; the most that were tried, so more may help")
    assert rates_of(summarize(replace(RUN, samples=RUN.samples[:5]))) == {}
