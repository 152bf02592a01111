"""Which charts a run gets."""

from dataclasses import replace

from gateway.ops.bench.charts import Column
from gateway.ops.bench.drawings import charts_of, gap_columns
from gateway.ops.bench.result import Bucket, Sample
from gateway.ops.bench.summary import summarize
from tests.ops.bench.runs import DIRECT, RUN, THROUGH
from tests.ops.bench.svg import drawing


def test_a_run_has_a_chart_of_times_one_of_gaps_and_one_of_distance() -> None:
    charts = {chart.file: chart for chart in charts_of(summarize(RUN))}

    assert list(charts) == ["times-01.svg", "gaps-01-direct.svg", "distance-ct.svg"]
    assert all(chart.title == drawing(chart.svg).texts[0] for chart in charts.values())
    assert charts["times-01.svg"].title == "Figure 3, ct, stock peers: until all is delivered"
    assert "92.7 s, extrapolated from 100" not in drawing(charts["times-01.svg"].svg).texts
    assert "91.3 s, extrapolated from 100" in drawing(charts["times-01.svg"].svg).texts
    assert len(drawing(charts["distance-ct.svg"].svg).polylines) == 3


def test_where_nothing_is_delivered_acknowledgements_are_shown() -> None:
    run = replace(RUN, samples=(replace(DIRECT, delivered_s=None, gaps=()),))

    (chart,) = charts_of(summarize(run))
    assert chart.title.endswith("until all is acknowledged")


def test_where_nothing_was_timed_nothing_is_drawn() -> None:
    run = replace(RUN, samples=(replace(DIRECT, delivered_s=None, acknowledged_s=None, gaps=()),))

    assert list(charts_of(summarize(run))) == []


def test_gaps_are_drawn_where_the_wire_was_looked_at_or_something_stalls() -> None:
    calm = replace(DIRECT, gaps=(Bucket(0.001, 90), Bucket(0.050, 3), Bucket(None, 1)))

    def files(sample: Sample) -> list[str]:
        return [chart.file for chart in charts_of(summarize(replace(RUN, samples=(sample,))))]

    assert files(calm) == ["times-01.svg"]
    assert files(replace(calm, wire=THROUGH.wire, variant="direct, recorded"))[1:] == ["gaps-01-direct-recorded.svg"]
    assert files(DIRECT)[1:] == ["gaps-01-direct.svg"]


def test_gaps_of_a_delayed_acknowledgement_stand_out() -> None:
    gaps = (Bucket(0.030, 1), Bucket(0.050, 9), Bucket(0.100, 2), Bucket(None, 3))

    assert list(gap_columns(gaps)) == [
        Column("0–30", 1),
        Column("30–50", 9, is_warning=True),
        Column("50–100", 2),
        Column("100+", 3),
    ]
    assert not any(column.is_warning for column in gap_columns((Bucket(0.030, 10), Bucket(0.050, 9), Bucket(None, 0))))
