"""What distance does to throughput, and how many associations make up for it.

C-STORE waits for a response before it sends the next instance, so one association carries at most one instance for
each round trip, however fast the link is; n associations carry n. Beyond some number the link, the disk or the
destination limits, and more of them only cost: that number is the knee.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.ops.bench.comparison import DISTANCE
from gateway.ops.bench.summary import CaseSummary

ENOUGH_SHARE = 0.9
"""Of the best throughput seen: who reaches this with fewer associations needs no more."""

Rates = Mapping[int, float]
"""MB/s by number of associations, once the first instance is there: opening them is no part of it."""


@dataclass(frozen=True, slots=True)
class Knee:
    """How many associations a link needs, what they reach, and whether more than were tried might reach more."""

    workload: str
    link: str
    associations: int
    rate: float
    """MB/s."""
    times_one: float
    """Over the smallest number of associations tried."""
    is_open: bool
    """The largest number tried was needed."""

    def __str__(self) -> str:
        words = (
            f"{self.workload} over {self.link}: delivery.associations = {self.associations} ({self.rate:.1f} MB/s, "
            f"{self.times_one:.1f} times as much as with the fewest)"
        )
        return f"{words}; the most that were tried, so more may help" if self.is_open else words


def rates_of(summaries: Sequence[CaseSummary]) -> dict[str, dict[str, Rates]]:
    """What was measured over a distance: the median flow by workload and link, nearest link first."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    far = [each for each in summaries if each.case.figure == DISTANCE and each.associations and "flow" in each.spreads]
    for each in sorted(far, key=lambda each: (each.case.workload, _round_trip(each.case.link), each.associations)):
        rates = found.setdefault(each.case.workload, {}).setdefault(each.case.link, {})
        rates[each.associations or 0] = each.spreads["flow"].median
    return {workload: dict(links) for workload, links in found.items()}


def _round_trip(link: str) -> tuple[float, str]:
    """Milliseconds, which the words of a link begin with; what has none is near."""
    number, _, _ = link.partition(" ")
    return (float(number) if number.replace(".", "", 1).isdecimal() else 0.0), link


def knee(workload: str, link: str, rates: Rates) -> Knee:
    """The smallest number of associations with enough of the best rate; of one rate at least."""
    enough = ENOUGH_SHARE * max(rates.values())
    chosen = min(count for count, rate in rates.items() if rate >= enough)
    fewest = rates[min(rates)]
    is_open = chosen == max(rates) and len(rates) > 1
    return Knee(workload, link, chosen, rates[chosen], rates[chosen] / fewest if fewest else 0.0, is_open)


def knees_of(summaries: Sequence[CaseSummary]) -> list[Knee]:
    """One for each workload and link."""
    return [
        knee(workload, link, rates) for workload, links in rates_of(summaries).items() for link, rates in links.items()
    ]
