"""A report says what the run says: its command line, its goals, its numbers; and every chart it shows is there."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import InputError
from gateway.ops.bench.comparison import DISTANCE
from gateway.ops.bench.distance import knees_of
from gateway.ops.bench.figures import FIGURES
from gateway.ops.bench.report import amount, write_report
from gateway.ops.bench.result import Run, Verdict
from gateway.ops.bench.summary import summarize
from tests.ops.bench.runs import RUN
from tests.ops.bench.svg import drawing


def written(run: Run, folder: Path) -> str:
    write_report(run, folder)
    return (folder / "report.md").read_text(encoding="utf-8")


def rows(page: str, first_cell: str) -> list[list[str]]:
    """The cells of the rows that begin with this one."""
    lines = [line for line in page.splitlines() if line.startswith(f"| {first_cell}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_file_is_told_and_every_chart_shown(tmp_path: Path) -> None:
    files = write_report(RUN, tmp_path / "new" / "report")

    assert sorted(files) == sorted((tmp_path / "new" / "report").iterdir())
    page = (tmp_path / "new" / "report" / "report.md").read_text(encoding="utf-8")
    charts = [file for file in files if file.suffix == ".svg"]
    assert sorted(re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)) == sorted(chart.name for chart in charts)
    assert [drawing(chart.read_text(encoding="utf-8")).texts for chart in charts]


def test_the_command_line_is_there_to_be_run_again(tmp_path: Path) -> None:
    page = written(RUN, tmp_path)

    assert f"```sh\n{RUN.command_line}\n```" in page
    assert json.loads((tmp_path / "report.json").read_text())["command_line"] == RUN.command_line


def test_all_ten_figures_are_in_the_table(tmp_path: Path) -> None:
    page = written(RUN, tmp_path)

    assert [row[0] for row in rows(page, "") if row[0].isdecimal() and len(row) == 5] == [
        *("1", "2", "3", "3", "4", "5", "6", "7", "8", "9", "10")
    ]
    assert rows(page, "3 ") == [
        ["3", "CT: delivered, times sooner than direct", "at least 10x", "11.3x", "yes"],
        ["3", "CT: over the time of an ideal sender", "at most 1.15x", "1.31x", "**no**"],
    ]
    assert rows(page, "7 ") == [["7", "memory above idle while 4 GB pass", "at most 64 MB", "–", "not measured"]]
    assert rows(page, "1 ")[0][1:] == [FIGURES[0].title, "–", "–", "not in this run"]


def test_measured_values_with_their_spread(tmp_path: Path) -> None:
    page = written(RUN, tmp_path)

    (gateway,) = rows(page, "gateway |")
    assert {"4.12 [4.04–4.2]", "1.5", "63.6 [62.4–64.9]"} <= set(gateway)
    assert gateway[-2:] == ["0", "0"]
    (router,) = rows(page, "orthanc routing")
    assert router[:3] == ["orthanc routing", "500, from 100", "2"]
    assert rows(page, "sync |") == [["sync", "2500", "2", "0.8"]]
    assert "sender, request: 16372 bytes" in page


def test_words_and_machine_of_the_run(tmp_path: Path) -> None:
    page = written(RUN, tmp_path)

    assert f"- {RUN.remarks[0]}" in page
    assert rows(page, "kernel") == [["kernel", "6.1"]]
    assert rows(page, "orthanc version") == [["orthanc version", "not here"]]
    assert rows(page, "disk sync p99") == [["disk sync p99", "4 ms"]]


def test_associations_for_each_distance(tmp_path: Path) -> None:
    page = written(RUN, tmp_path)

    assert rows(page, "associations") == [["associations", "0 ms", "20 ms", "100 ms"]]
    assert rows(page, "16 |") == [["16", "262", "161", "63.5"]]
    assert "- ct over 0 ms: delivery.associations = 1 " in page


def test_the_numbers_for_machines(tmp_path: Path) -> None:
    written(RUN, tmp_path)
    numbers = json.loads((tmp_path / "report.json").read_text())

    assert [figure["is_reached"] for figure in numbers["figures"]] == [True, False, None]
    gateway = next(case for case in numbers["cases"] if case["case"]["way"] == "gateway" and case["case"]["figure"])
    assert gateway["spreads"]["delivered"]["median"] == pytest.approx(4.12)
    assert numbers["units"]["delivered"] == "s"
    assert [knee["associations"] for knee in numbers["associations"]] == [1, 32, 32]


def test_a_run_over_a_distance_alone_has_no_table_of_figures(tmp_path: Path) -> None:
    far = tuple(sample for sample in RUN.samples if sample.figure == DISTANCE)
    run = replace(RUN, samples=far, verdicts=())
    knees = tuple(map(str, knees_of(summarize(run))))
    page = written(replace(run, remarks=knees), tmp_path)

    assert "## Over a distance" in page
    assert "## The figures" not in page
    assert "not in this run" not in page
    assert [page.count(knee) for knee in knees] == [1, 1, 1]


def test_an_empty_run_has_a_page_too(tmp_path: Path) -> None:
    page = written(replace(RUN, samples=(), verdicts=(), remarks=()), tmp_path)

    assert page.count("not in this run") == 10
    assert "## Remarks" not in page
    assert "## Over a distance" not in page


def test_signs_of_tables_do_no_harm(tmp_path: Path) -> None:
    page = written(replace(RUN, verdicts=(Verdict(1, "a | b", "x", 1.0),)), tmp_path)

    assert "| 1 | a \\| b | – | 1x | yes |" in page


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InputError, match="file: the report cannot be written there"):
        write_report(RUN, tmp_path / "file")


@pytest.mark.parametrize(("value", "unit", "text"), [(15.0, "x", "15x"), (2.5, "CPU-s/GB", "2.5 CPU-s/GB")])
def test_amounts(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text
