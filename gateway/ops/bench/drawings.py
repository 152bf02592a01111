"""The charts of a run: which there are, and what goes into them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.ops.bench.charts import Bar, Column, bars, columns, lines
from gateway.ops.bench.distance import rates_of
from gateway.ops.bench.measure import STALL_BELOW_S, is_stalled
from gateway.ops.bench.result import Bucket, Way
from gateway.ops.bench.summary import MILLI, CaseSummary, Setup, Spread, setups


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing, the file it goes to, and what it shows; `setup` is the one it belongs to, if it is of one alone."""

    file: str
    title: str
    svg: str
    setup: Setup | None = None


def charts_of(summaries: Sequence[CaseSummary]) -> Iterator[Chart]:
    """Times of each setup, gaps where the wire was looked at or something stalls, throughput by distance."""
    for number, (setup, cases) in enumerate(setups(summaries), 1):
        yield from _time_chart(number, setup, cases)
        for each in cases:
            if each.gaps and (each.wire or is_stalled(each.gaps)):
                title = f"{setup}, {each.case.key}: waits for a response, in ms"
                file = f"gaps-{number:02}-{each.case.key.replace(' ', '-').replace(',', '')}.svg"
                yield Chart(file, title, columns(title, "responses", [*gap_columns(each.gaps)]), setup)
    yield from _distance_charts(summaries)


def _time_chart(number: int, setup: Setup, cases: Sequence[CaseSummary]) -> Iterator[Chart]:
    """Bars for the ways of a setup: until delivered, or until acknowledged where nobody waited for more."""
    for measure in ("delivered", "acknowledged"):
        shown = [_bar(each, each.spreads[measure]) for each in cases if measure in each.spreads]
        if shown:
            title = f"{setup}: until all is {measure}"
            yield Chart(f"times-{number:02}.svg", title, bars(title, "s", shown), setup)
            return


def _bar(summary: CaseSummary, spread: Spread) -> Bar:
    case = summary.case
    note = f"extrapolated from {case.measured_instances}" if case.measured_instances < case.instances else ""
    return Bar(case.key, spread.median, spread.low, spread.high, case.way is Way.GATEWAY, note)


def gap_columns(gaps: Sequence[Bucket]) -> Iterator[Column]:
    """The buckets of a histogram with their bounds in milliseconds; where there is a stall, its bucket stands out."""
    stalled = is_stalled(gaps)
    above_s = 0.0
    for bucket in gaps:
        if bucket.below_s is None:
            yield Column(f"{above_s / MILLI:g}+", bucket.count)
        else:
            bounds = f"{above_s / MILLI:g}–{bucket.below_s / MILLI:g}"
            yield Column(bounds, bucket.count, stalled and bucket.below_s == STALL_BELOW_S)
            above_s = bucket.below_s


def _distance_charts(summaries: Sequence[CaseSummary]) -> Iterator[Chart]:
    """Throughput by number of associations, a line for each link; a chart for each workload."""
    for workload, links in rates_of(summaries).items():
        title = f"{workload} over a distance: throughput of the gateway"
        series = {link: sorted(rates.items()) for link, rates in links.items()}
        yield Chart(f"distance-{workload}.svg", title, lines(title, "associations to the destination", "MB/s", series))
