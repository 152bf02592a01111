"""A run survives its JSON; what is no run is refused in words."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import InputError
from gateway.ops.bench.result import (
    Bucket,
    Environment,
    Latency,
    Peers,
    Run,
    Sample,
    Stage,
    Verdict,
    Way,
    WireLength,
    parse_run,
    read_run,
    write_run,
)

ENVIRONMENT = Environment("0.1", "3.11.7", "3.6.7", "", "3.0.4", "6.1", "Some CPU", 2, 0.001, 0.004, 0.5)
PLAIN = Sample(3, "ct", Way.DIRECT, Peers.STOCK, round=1, instances=500, data_bytes=262_000_000)
FULL = replace(
    PLAIN,
    way=Way.GATEWAY,
    delivered_s=3.5,
    latency=Latency(0.001, 0.002, 0.04),
    gaps=(Bucket(0.001, 7), Bucket(None, 1)),
    cpu_user_s=0.5,
    cpu_system_s=0.25,
    wire=(WireLength("sender", "request", 16372),),
    stages=(Stage("sync", 500, 0.4),),
)
RUN = Run(
    "gateway bench run --figure 3",
    "2026-01-02T03:04:05+00:00",
    ENVIRONMENT,
    (PLAIN, FULL),
    (Verdict(3, "CT sooner", "x", 11.5, at_least=10.0), Verdict(3, "not measured", "x", None, at_most=1.15)),
    ("a stall was seen",),
)


def test_a_run_survives_its_json(tmp_path: Path) -> None:
    write_run(RUN, tmp_path / "run.json")

    assert read_run(tmp_path / "run.json") == RUN


def test_cpu_is_counted_by_decimal_gigabytes() -> None:
    assert PLAIN.cpu_s_per_gb is None
    assert replace(FULL, data_bytes=500_000_000).cpu_s_per_gb == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("verdict", "reached"),
    [
        (Verdict(1, "", "x", 15.0, at_least=15.0), True),
        (Verdict(1, "", "x", 14.9, at_least=15.0), False),
        (Verdict(7, "", "MB", 65.0, at_most=64.0), False),
        (Verdict(7, "", "MB", None, at_most=64.0), None),
    ],
)
def test_a_goal_is_reached_at_its_bound(verdict: Verdict, reached: bool | None) -> None:
    assert verdict.is_reached is reached


def test_fields_of_a_later_minor_version_are_passed_over() -> None:
    assert parse_run(json.dumps(json.loads(RUN.to_json()) | {"mood": "good"})) == RUN


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format_version": 2}, "with format_version 1, not 2"),
        ({"samples": "none"}, "samples"),
        ({"started_at": 5}, "started_at"),
        ({"samples": [{"figure": 1}]}, "samples.0.workload"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps(json.loads(RUN.to_json()) | change))

    with pytest.raises(InputError, match="run.json: .*" + expected):
        read_run(tmp_path / "run.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"', '{"format_version": NaN}'])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected the JSON of a benchmark run"):
        parse_run(text)


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.json: cannot be read"):
        read_run(tmp_path / "missing.json")
    with pytest.raises(InputError, match=r"no\.json: cannot be written"):
        write_run(RUN, tmp_path / "none" / "no.json")
