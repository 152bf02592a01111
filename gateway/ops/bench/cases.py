"""One transfer, set up, timed and measured: a `Case` is what to do, a `Sample` what was found."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from types import MappingProxyType

from gateway.domain.peer import ApplicationEntity
from gateway.net.dial import Proposal, dial
from gateway.ops.bench import sender as ideal
from gateway.ops.bench.measure import (
    Cpu,
    cpu_of,
    forget_peak,
    histogram_of,
    latency_of,
    peak_rss_bytes_of,
    rss_bytes_of,
    stages_between,
    stages_now,
)
from gateway.ops.bench.peers import (
    DEADLINE_S,
    Destination,
    DestinationKind,
    Sender,
    SenderKind,
    Sending,
    destination_of,
    sender_of,
)
from gateway.ops.bench.recorder import Recorder
from gateway.ops.bench.result import Peers, Sample, Way, WireLength
from gateway.ops.bench.sink import Arrived
from gateway.ops.bench.trace import counted
from gateway.ops.bench.ways import Hop, hop_of
from gateway.ops.bench.workload import Source
from gateway.wire import uids

FIRST_LOOK_S, SHORTEST_LOOK_S = 0.05, 0.01
"""Between two questions to the destination: before anything is there, and at least. Asking costs it time."""

GIVEN_UP_S = 60.0
"""Without a further arrival, once everything was sent: what is missing then is lost. Longer than a retry takes."""

Progress = Callable[[int], None]
"""Told how many instances are at the destination."""


class Probe(Enum):
    """What a case is looked at with. A probe slows down what it looks at, so its samples have no times."""

    NONE = "none"
    SYSCALLS = "strace"
    WIRE = "a recording relay on each leg"


@dataclass(frozen=True, slots=True)
class Case:
    """One way through one setup."""

    way: Way
    sender: SenderKind = SenderKind.STORESCU
    destination: DestinationKind = DestinationKind.ORTHANC
    peers: Peers = Peers.STOCK
    variant: str = ""
    """What else distinguishes it from the figure's other cases."""
    associations: int = 1
    """Of the ideal sender."""
    idle_associations: int = 0
    """Opened before, and left alone."""
    idle_s: float = 0.0
    """How long to watch what the way costs while nothing is sent."""
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Of the gateway, beyond its defaults."""
    probe: Probe = Probe.NONE
    is_slow: bool = False
    """Takes minutes: measured on fewer instances and extrapolated."""

    @property
    def key(self) -> str:
        """Its name within its figure."""
        return self.variant or self.way.value


@dataclass(frozen=True, slots=True)
class _Observed:
    """The moments of one transfer, on the monotonic clock, and the costs of what stood between."""

    sending: Sending
    delivered_at: float | None
    delivered_count: int
    arrived: Sequence[Arrived]
    cpu: Cpu
    peak_rss_bytes: int


def run_case(figure: int, case: Case, source: Source, scratch: Path, on_progress: Progress = lambda _: None) -> Sample:
    """Set everything up anew, let the sender send, wait until the destination has it all.

    Raises:
        PeerSystemError, NetworkError: something did not start, or did not take what it was sent.
    """
    digests = source.digests  # made here, before any clock starts
    with ExitStack() as stack:
        destination = stack.enter_context(destination_of(case.destination, case.peers, scratch))
        sender = stack.enter_context(sender_of(case.sender, source, case.peers, case.associations, scratch))
        legs = _Legs(case, stack)
        onwards = legs.to_destination(destination.ae)
        hop = stack.enter_context(
            hop_of(case.way, onwards, case.peers, scratch, patient_ids=source.patient_ids, settings=case.settings)
        )
        hop = replace(hop, called=legs.to_called(hop.called))
        stack.enter_context(_idle(hop, case.idle_associations))
        idle_cpu_share = _idle_cpu_share(hop, case.idle_s)
        os.sync()  # what was written before is nobody's cost
        before = stages_now(hop.rest_url, hop.token)
        with counted(hop.pids[0] if case.probe is Probe.SYSCALLS else None) as calls:
            observed = _observe(hop, sender, destination, len(digests), on_progress)
        stages = stages_between(before, stages_now(hop.rest_url, hop.token))
    sample = replace(_counted(_blank(figure, case, source), digests, observed), idle_cpu_share=idle_cpu_share)
    match case.probe:
        case Probe.WIRE:
            return replace(sample, gaps=histogram_of(legs.gaps_s), wire=legs.lengths)
        case Probe.SYSCALLS:
            return _traced(sample, calls.total, calls.syncs)
        case Probe.NONE:
            sample = replace(_timed(sample, observed), stages=stages)
            return _costed(sample, observed) if hop.pids else sample


class _Legs:
    """Recorders on the legs of a case that is to be looked at; without one, everybody is called directly."""

    def __init__(self, case: Case, stack: ExitStack) -> None:
        self._is_recorded = case.probe is Probe.WIRE
        self._has_hop = case.way not in (Way.DIRECT, Way.IDEAL)
        self._prompt = case.way is Way.GATEWAY
        self._stack = stack
        self._recorders: list[Recorder] = []

    def to_destination(self, ae: ApplicationEntity) -> ApplicationEntity:
        return self._recorded("destination", ae) if self._has_hop else ae

    def to_called(self, ae: ApplicationEntity) -> ApplicationEntity:
        return self._recorded("sender", ae)

    @property
    def gaps_s(self) -> list[float]:
        """As the sender had them."""
        return [gap_s for recorder in self._recorders if recorder.leg == "sender" for gap_s in recorder.gaps_s]

    @property
    def lengths(self) -> tuple[WireLength, ...]:
        return tuple(length for recorder in self._recorders for length in recorder.lengths)

    def _recorded(self, leg: str, ae: ApplicationEntity) -> ApplicationEntity:
        if not self._is_recorded:
            return ae
        recorder = self._stack.enter_context(Recorder(leg, ae.port, prompt=self._prompt))
        self._recorders.append(recorder)
        return replace(ae, port=recorder.port)


@contextmanager
def _idle(hop: Hop, count: int) -> Iterator[None]:
    """So many associations on which nothing is sent."""
    proposal = Proposal(uids.VERIFICATION, uids.IMPLICIT_VR_LITTLE_ENDIAN)
    connections = [dial(hop.called, [proposal], ideal.SETTINGS) for _ in range(count)]
    try:
        yield
    finally:
        for connection in connections:
            connection.close()


def _idle_cpu_share(hop: Hop, watch_s: float) -> float | None:
    if not watch_s:
        return None
    before = cpu_of(hop.pids)
    time.sleep(watch_s)
    spent = cpu_of(hop.pids).since(before)
    return (spent.user_s + spent.system_s) / watch_s


def _observe(hop: Hop, sender: Sender, destination: Destination, count: int, on_progress: Progress) -> _Observed:
    forget_peak(hop.pids)
    idle_bytes, before = rss_bytes_of(hop.pids), cpu_of(hop.pids)
    sending = _begun(sender, hop)
    delivered_at = _delivered(destination, count, sending, on_progress)
    done = sending.result()
    return _Observed(
        done,
        delivered_at and max(delivered_at, done.acknowledged_at),
        destination.count(),
        destination.arrived(),
        cpu_of(hop.pids).since(before),
        max(0, peak_rss_bytes_of(hop.pids) - idle_bytes),
    )


def _begun(sender: Sender, hop: Hop) -> "Future[Sending]":
    """Send on a thread that nobody waits for: should we be ended, whom it sends to is too, and then it ends."""
    sending: Future[Sending] = Future()

    def send() -> None:
        try:
            done = sender.send(hop.called)
            hop.send_on()
            sending.set_result(done)
        except BaseException as error:  # the caller's, as soon as it asks for the result
            sending.set_exception(error)

    threading.Thread(target=send, name="sender", daemon=True).start()
    return sending


def _delivered(destination: Destination, count: int, sending: "Future[Sending]", on_progress: Progress) -> float | None:
    """When the destination had everything; None when nothing has come any more for `GIVEN_UP_S` after the sending."""
    began_at = moved_at = now = time.monotonic()
    moving_since: float | None = None
    arrived = 0
    while now - began_at < DEADLINE_S and not (sending.done() and now - moved_at > GIVEN_UP_S):
        time.sleep(_pause_s(arrived, count, now - moving_since if moving_since else 0.0))
        before, arrived, now = arrived, destination.count(), time.monotonic()
        on_progress(arrived)
        if arrived >= count or (sending.done() and sending.exception()):  # who asks for the result learns why
            return now
        if arrived > before or not sending.done():
            moved_at = now
        if arrived and moving_since is None:
            moving_since = now
    return None


def _pause_s(arrived: int, count: int, moving_s: float) -> float:
    """Until the next question: a share of what is left at the present rate, never a large part of what has passed."""
    if not arrived:
        return FIRST_LOOK_S
    remaining_s = moving_s / arrived * (count - arrived)
    return max(SHORTEST_LOOK_S, min(remaining_s / 4, moving_s / 10))


def _blank(figure: int, case: Case, source: Source) -> Sample:
    """What a sample says before anything is measured; its round is given by whoever counts rounds."""
    return Sample(
        figure=figure,
        workload=source.name,
        way=case.way,
        peers=case.peers,
        round=1,
        instances=len(source.digests),
        data_bytes=source.data_bytes,
        variant=case.variant,
        senders=min(case.associations, len(source.digests)),
    )


def _counted(sample: Sample, digests: Mapping[str, str], observed: _Observed) -> Sample:
    """What was lost and what came twice: by digest where the destination is the sink, else by number."""
    if not observed.arrived:
        return replace(sample, lost_count=max(0, sample.instances - observed.delivered_count))
    times = Counter(one.sop_instance_uid for one in observed.arrived)
    intact = {one.sop_instance_uid for one in observed.arrived if digests.get(one.sop_instance_uid) == one.sha256}
    return replace(sample, lost_count=len(digests.keys() - intact), duplicated_count=times.total() - len(times))


def _timed(sample: Sample, observed: _Observed) -> Sample:
    sending, arrived = observed.sending, observed.arrived
    delivered_at = observed.delivered_at and max((one.last_byte_at for one in arrived), default=observed.delivered_at)
    sample = replace(
        sample,
        acknowledged_s=sending.acknowledged_at - sending.began_at,
        delivered_s=delivered_at and delivered_at - sending.began_at,
        first_instance_s=min((one.last_byte_at - sending.began_at for one in arrived), default=None),
    )
    if sending.outcome is None:
        return sample
    waits_s = [one.response_at - one.last_byte_at for one in sending.outcome.sent]
    return replace(
        sample,
        first_byte_s=min((one.first_byte_at - sending.began_at for one in arrived), default=None),
        after_last_byte_s=delivered_at and delivered_at - sending.outcome.last_byte_at,
        latency=latency_of(waits_s),
        gaps=histogram_of(waits_s),
    )


def _costed(sample: Sample, observed: _Observed) -> Sample:
    return replace(
        sample,
        cpu_user_s=observed.cpu.user_s,
        cpu_system_s=observed.cpu.system_s,
        peak_rss_bytes=observed.peak_rss_bytes,
    )


def _traced(sample: Sample, syscall_count: int, sync_count: int) -> Sample:
    if not syscall_count:
        return sample  # no strace here, or it may not look
    return replace(
        sample,
        syscalls_per_instance=syscall_count / sample.instances,
        syncs_per_instance=sync_count / sample.instances,
    )


def extrapolated(sample: Sample, instances: int, data_bytes: int) -> Sample:
    """A sample of fewer instances, as if all had been sent: times and CPU grow with their number."""
    factor = instances / sample.instances

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * factor

    return replace(
        sample,
        instances=instances,
        data_bytes=data_bytes,
        is_extrapolated=True,
        measured_instances=sample.instances,
        acknowledged_s=scaled(sample.acknowledged_s),
        delivered_s=scaled(sample.delivered_s),
        after_last_byte_s=None,
        cpu_user_s=scaled(sample.cpu_user_s),
        cpu_system_s=scaled(sample.cpu_system_s),
    )
