"""A whole run: series prepared, figures measured round by round in rotating order, goals judged."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from gateway.errors import NetworkError, PeerSystemError
from gateway.ops.bench import figures
from gateway.ops.bench.cases import Case, Progress, extrapolated, run_case
from gateway.ops.bench.figures import FIGURES, Figure
from gateway.ops.bench.machine import is_in_memory, look_around
from gateway.ops.bench.measure import is_stalled
from gateway.ops.bench.result import Run, Sample, Verdict
from gateway.ops.bench.workload import (
    WORKLOADS,
    Series,
    Source,
    StreamedObject,
    Workload,
    from_files,
    generate,
)

ROUNDS = 5
"""The least number of rounds whose median says something."""
STALL_WORDS = (
    "Waits of about 40 ms on the way {where}: Nagle's algorithm at one end against the delayed acknowledgement of "
    "the other. Set TCP_NODELAY=1 in the environment of DCMTK's tools and of Orthanc, at both ends; the gateway "
    "needs nothing."
)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of everything: `scale` of each workload, at most `slow_count` instances where it takes minutes."""

    rounds: int = ROUNDS
    scale: float = 1.0
    slow_count: int = 200
    probe_count: int = 40
    workloads: frozenset[str] = frozenset(WORKLOADS)
    """Of those a figure has, only these."""

    def sized(self, workload: Workload) -> Workload:
        """The workload at this scale."""
        if workload.is_streamed:
            return replace(workload, frames=max(2, round(workload.frames * self.scale)))
        return replace(workload, instances=max(1, round(workload.instances * self.scale)))


FULL = Extent()
QUICK = Extent(rounds=1, scale=0.2, slow_count=20, probe_count=10, workloads=frozenset({"ct", "1gb", "4gb"}))


def with_rounds(extent: Extent, rounds: int | None) -> Extent:
    """The same with another number of rounds, if one is given."""
    return replace(extent, rounds=rounds) if rounds else extent


class Reporter(Protocol):
    """Is told what is going on."""

    def begin(self, what: str, instances: int) -> Progress:
        """A transfer begins; the result is told how far it is."""
        ...


class Silent:
    """Nobody watches."""

    def begin(self, what: str, instances: int) -> Progress:
        return lambda _: None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `workloads` of None are those each figure has; `dicom` stands in for the files of any."""

    figures: Sequence[Figure] = FIGURES
    workloads: frozenset[str] | None = None
    extent: Extent = FULL
    dicom: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the gateway in every case, dotted keys as for `--set`."""

    def workloads_of(self, figure: Figure) -> tuple[str, ...]:
        """Its own; or those asked for that it can be measured with: a series, or one large object."""
        if self.workloads is None:
            return tuple(name for name in figure.workloads if name in self.extent.workloads)
        kinds = {WORKLOADS[name].is_streamed for name in figure.workloads}
        return tuple(name for name in WORKLOADS if name in self.workloads and WORKLOADS[name].is_streamed in kinds)

    def transfer_count(self) -> int:
        """How many transfers it takes."""
        return sum(
            len(self.workloads_of(figure)) * (self.extent.rounds * len(figure.cases) + len(figure.probes))
            for figure in self.figures
        )


def run(plan: Plan, command_line: str, scratch: Path | None = None, reporter: Reporter | None = None) -> Run:
    """Run a plan.

    Raises:
        InputError: the user's files cannot be used; or Orthanc or DCMTK is not here, and how to get it.
    """
    reporter = reporter or Silent()
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    samples: list[Sample] = []
    verdicts: list[Verdict] = []
    with _folder(scratch) as folder:
        environment = look_around(folder)
        remarks = [IN_MEMORY_WORDS] if is_in_memory(folder) else []
        sources = _Sources(plan, folder)
        for figure in plan.figures:
            workloads = plan.workloads_of(figure)
            for name in workloads:
                samples += _measured(figure, name, sources, folder, _Log(reporter, remarks))
            verdicts += [goal.verdict(figure.number, samples) for goal in figure.goals if goal.workload in workloads]
    return Run(command_line, started_at, environment, tuple(samples), tuple(verdicts), (*remarks, *_remarks(samples)))


FAILED_WORD = "Failed:"
"""How a remark begins that is about a transfer that did not come to its end."""
IN_MEMORY_WORDS = "The spool was in memory, not on a disk: nothing that was acknowledged was durable. Choose --scratch."


def is_partial(run: Run) -> bool:
    """Whether a transfer failed, so that something is missing."""
    return any(remark.startswith(FAILED_WORD) for remark in run.remarks)


def failures_of(run: Run) -> int:
    """Acknowledged instances that were lost, changed or delivered twice, in all samples of the gateway."""
    return sum((sample.lost_count or 0) + (sample.duplicated_count or 0) for sample in run.samples)


@dataclass(frozen=True, slots=True)
class _Log:
    """Where it is told what goes on, and what went wrong."""

    reporter: Reporter
    remarks: list[str]


def _measured(figure: Figure, workload: str, sources: "_Sources", folder: Path, log: _Log) -> Iterator[Sample]:
    """All samples of a figure with one workload; a transfer that failed is left out, and remarked upon."""
    extent = sources.extent
    whole = sources.whole(workload)
    probes, cases = (_with(sources.settings, cases) for cases in (figure.probes, figure.cases))
    for case in probes:
        yield from _transfer(figure, case, sources.part(workload, extent.probe_count), folder, log, "looked at")
    for number in range(1, extent.rounds + 1):
        start = (number - 1) % len(cases)
        for case in (*cases[start:], *cases[:start]):
            part = sources.part(workload, extent.slow_count) if case.is_slow else whole
            for sample in _transfer(figure, case, part, folder, log, f"round {number}"):
                scaled = sample if part is whole else extrapolated(sample, len(whole.digests), whole.data_bytes)
                yield replace(scaled, round=number)


def _with(settings: Mapping[str, str], cases: Sequence[Case]) -> list[Case]:
    """The cases with further settings of the gateway; these win over a case's own."""
    return [replace(case, settings={**case.settings, **settings}) for case in cases]


def _transfer(  # noqa: PLR0917  # all of it is where and what
    figure: Figure, case: Case, source: Source, folder: Path, log: _Log, turn: str
) -> Iterator[Sample]:
    """One sample, or none if the transfer failed."""
    what = f"figure {figure.number}, {source.name}, {turn}: {case.key}"
    progress = log.reporter.begin(what, len(source.digests))
    scratch = Path(tempfile.mkdtemp(prefix="transfer-", dir=folder))
    try:
        yield run_case(figure.number, case, source, scratch, progress)
    except (PeerSystemError, NetworkError) as error:
        log.remarks.append(f"{FAILED_WORD} {what}: {error}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Sources:
    """Series, made when they are first asked for."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.extent = plan.extent
        self.settings = plan.settings
        self._dicom = plan.dicom
        self._folder = folder
        self._whole: dict[str, Source] = {}
        self._parts: dict[tuple[str, int], Source] = {}

    def whole(self, name: str) -> Source:
        if name not in self._whole:
            self._whole[name] = self._made(self.extent.sized(WORKLOADS[name]))
        return self._whole[name]

    def part(self, name: str, count: int) -> Source:
        """The first `count` instances; the whole where it has no more."""
        whole = self.whole(name)
        if not isinstance(whole, Series) or len(whole.files) <= count:
            return whole
        if (name, count) not in self._parts:
            self._parts[name, count] = whole.first(count, self._folder / f"{name}-{count}")
        return self._parts[name, count]

    def _made(self, workload: Workload) -> Source:
        if workload.is_streamed:
            return StreamedObject(workload)
        folder = self._folder / workload.name
        if self._dicom is not None:
            return replace(from_files(self._dicom, folder, workload.instances), name=workload.name)
        return generate(workload, folder, workload.instances)


def _remarks(samples: Sequence[Sample]) -> Iterator[str]:
    stalled = [sample for sample in samples if sample.wire and is_stalled(sample.gaps)]
    for where in dict.fromkeys(f"{figures.key_of(sample)} ({sample.peers})" for sample in stalled):
        yield STALL_WORDS.format(where=where)
    for sample in samples:
        if sample.syscalls_per_instance is not None and sample.syncs_per_instance is not None:
            yield (
                f"{sample.workload}: {sample.syscalls_per_instance:.0f} system calls of the gateway for each instance, "
                f"{sample.syncs_per_instance:.2f} of them syncs."
            )
        elif sample.variant == figures.TRACED:
            yield "System calls were not counted: strace is not here, or may not look at the gateway."


@contextmanager
def _folder(scratch: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-", dir=scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def by_number(numbers: Sequence[int] | None) -> tuple[Figure, ...]:
    """The figures with these numbers; all of them for None.

    Raises:
        KeyError: no such figure.
    """
    known: Mapping[int, Figure] = {figure.number: figure for figure in FIGURES}
    return tuple(known[number] for number in numbers) if numbers else FIGURES
