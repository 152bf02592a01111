"""The gateway over a distance: an emulated link between it and the destination, and more and more associations.

The destination is the counting sink, which serves as many associations as it is given: what limits is the link, and the
gateway's way of using it.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gateway.ops.bench.cases import Progress
from gateway.ops.bench.comparison import DISTANCE
from gateway.ops.bench.distance import knees_of
from gateway.ops.bench.link import Link
from gateway.ops.bench.machine import look_around
from gateway.ops.bench.peers import (
    DEADLINE_S,
    DestinationKind,
    IdealSender,
    destination_of,
    port_in,
    running,
    wait_for,
)
from gateway.ops.bench.result import Peers, Run, Sample, Way
from gateway.ops.bench.runner import Reporter
from gateway.ops.bench.summary import summarize
from gateway.ops.bench.ways import hop_of
from gateway.ops.bench.workload import Series, Workload, generate

ROUND_TRIPS_MS = (0.0, 20.0, 50.0, 100.0)
ASSOCIATIONS = (1, 2, 4, 8, 16, 32)
GIGABIT_BYTES_PER_S = 125e6
INSTANCES_PER_ASSOCIATION = 20
"""So that opening the associations, three round trips each, is a small part of the time."""
LEAST_INSTANCES = 100
"""With few associations and no distance, the gateway's start of a study must be a small part too."""

QUICK_SCALE = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: each number of associations over each link, in every round."""

    workload: Workload
    links: Sequence[Link] = tuple(Link(ms / 1000, GIGABIT_BYTES_PER_S) for ms in ROUND_TRIPS_MS)
    associations: Sequence[int] = ASSOCIATIONS
    rounds: int = 1
    scale: float = 1.0
    """Of the number of instances."""

    def instances(self, associations: int) -> int:
        """How many are sent over so many associations."""
        return max(1, round(self.scale * max(LEAST_INSTANCES, INSTANCES_PER_ASSOCIATION * associations)))

    def transfers(self) -> Iterator[tuple[int, Link, int]]:
        """Round, link and associations of each transfer."""
        for number in range(1, self.rounds + 1):
            for link in self.links:
                for associations in self.associations:
                    yield number, link, associations


def run(plan: Plan, command_line: str, scratch: Path | None, reporter: Reporter) -> Run:
    """Run a plan; its remarks say how many associations each link needs.

    Raises:
        PeerSystemError, NetworkError: a transfer failed.
    """
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-", dir=scratch))
    try:
        environment = look_around(folder)
        parts = _parts(plan, folder)
        samples = []
        for number, link, associations in plan.transfers():
            what = f"round {number}, {link}: {words(associations)}"
            series = parts[associations]
            sample = transfer(series, link, associations, folder, reporter.begin(what, len(series.files)))
            samples.append(replace(sample, round=number))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    measured = Run(command_line, started_at, environment, tuple(samples))
    return replace(measured, remarks=tuple(map(str, knees_of(summarize(measured)))))


def words(associations: int) -> str:
    """So many associations."""
    return "1 association" if associations == 1 else f"{associations} associations"


def _parts(plan: Plan, folder: Path) -> dict[int, Series]:
    """By number of associations, the series that is sent over them: all the same one, more or less of it."""
    whole = generate(plan.workload, folder / "series", max(map(plan.instances, plan.associations)))
    counts = sorted(set(map(plan.instances, plan.associations)))
    by_count = {count: whole.first(count, folder / f"first-{count}") for count in counts}
    return {associations: by_count[plan.instances(associations)] for associations in plan.associations}


def transfer(series: Series, link: Link, associations: int, folder: Path, on_progress: Progress) -> Sample:
    """Send a series through a new gateway over the link to a new sink.

    Raises:
        PeerSystemError, NetworkError: something did not start or did not take what it was sent.
    """
    scratch = Path(tempfile.mkdtemp(prefix="transfer-", dir=folder))
    settings = {"delivery.associations": str(associations)}
    count = len(series.files)

    def is_all_there() -> bool:
        arrived = destination.count()
        on_progress(arrived)
        return arrived >= count

    with (
        destination_of(DestinationKind.SINK, Peers.TUNED, scratch) as destination,
        emulated(destination.ae.port, link, scratch) as far_port,
        hop_of(
            Way.GATEWAY,
            replace(destination.ae, port=far_port),
            Peers.TUNED,
            scratch,
            patient_ids=series.patient_ids,
            settings=settings,
        ) as hop,
    ):
        sending = IdealSender(series, 1, scratch).send(hop.called)
        wait_for(is_all_there, DEADLINE_S, "the destination does not have everything")
        arrived = destination.arrived()
    shutil.rmtree(scratch, ignore_errors=True)
    intact = {one.sop_instance_uid for one in arrived if series.digests.get(one.sop_instance_uid) == one.sha256}
    return Sample(
        figure=DISTANCE,
        workload=series.name,
        way=Way.GATEWAY,
        peers=Peers.TUNED,
        round=1,
        instances=count,
        data_bytes=series.data_bytes,
        variant=words(associations),
        link=str(link),
        associations=associations,
        acknowledged_s=sending.acknowledged_at - sending.began_at,
        delivered_s=max(one.last_byte_at for one in arrived) - sending.began_at,
        first_instance_s=min(one.last_byte_at for one in arrived) - sending.began_at,
        lost_count=len(series.digests.keys() - intact),
        duplicated_count=len(arrived) - len({one.sop_instance_uid for one in arrived}),
    )


@contextmanager
def emulated(target_port: int, link: Link, scratch: Path) -> Iterator[int]:
    """The port behind which `target_port` is at a distance."""
    folder = Path(tempfile.mkdtemp(prefix="link-", dir=scratch))
    with running("netem", folder, str(target_port), json.dumps(asdict(link)), log=folder / "log") as program:
        yield port_in(folder, program)
