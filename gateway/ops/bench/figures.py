"""The figures the gateway is held to: for each the cases that are compared, the workloads, and the goals.

All of it is data. A case is one way from a sender to a destination; a goal compares the medians of one measured value,
in one case or between two.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from gateway.ops.bench.cases import Case, Probe
from gateway.ops.bench.peers import DestinationKind, SenderKind
from gateway.ops.bench.result import Peers, Sample, Verdict, Way

MEGABYTE = 1_000_000
TRACED = "gateway, traced"
IDLE_COUNT = 500
IDLE_WATCH_S = 5.0
MEMORY_GOAL_MB = 64.0
OVERLOAD_GOAL_MB = 128.0
"""For twice as many senders: bounded means growing no faster than their number."""

Measured = Callable[[Sample], float | None]


class Form(Enum):
    """How a goal makes one number of its cases."""

    VALUE = "the median itself"
    SOONER = "how many times less than the other case"
    COST = "how many times the other case"
    LOSS = "per cent more than the other case"


@dataclass(frozen=True, slots=True)
class Goal:
    """What must hold for one workload; `subject` and `against` are the keys of cases."""

    workload: str
    what: str
    unit: str
    measured: Measured
    subject: str
    against: str = ""
    form: Form = Form.VALUE
    at_least: float | None = None
    at_most: float | None = None

    def verdict(self, figure: int, samples: Iterable[Sample]) -> Verdict:
        """From the samples of the figure."""
        samples = [sample for sample in samples if sample.figure == figure and sample.workload == self.workload]
        value = self._value(median(samples, self.subject, self.measured), median(samples, self.against, self.measured))
        return Verdict(figure, self.what, self.unit, value, self.at_least, self.at_most)

    def _value(self, subject: float | None, against: float | None) -> float | None:
        if subject is None or self.form is Form.VALUE:
            return subject
        if not subject or not against:
            return None
        match self.form:
            case Form.SOONER:
                return against / subject
            case Form.COST:
                return subject / against
            case _:
                return 100 * (subject / against - 1)


def key_of(sample: Sample) -> str:
    """The key of the case it is a sample of."""
    return sample.variant or sample.way.value


def median(samples: Iterable[Sample], key: str, measured: Measured) -> float | None:
    """Of what was measured in one case; None where it never was."""
    values = [value for sample in samples if key_of(sample) == key and (value := measured(sample)) is not None]
    return statistics.median(values) if values else None


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the figures: everything in `cases` is run once a round for each workload, in rotating order.

    `probes` are run once for each workload, on few instances.
    """

    number: int
    title: str
    workloads: tuple[str, ...]
    cases: tuple[Case, ...]
    goals: tuple[Goal, ...]
    probes: tuple[Case, ...] = ()


def _acknowledged_s(sample: Sample) -> float | None:
    return sample.acknowledged_s


def _delivered_s(sample: Sample) -> float | None:
    return sample.delivered_s


def _cpu_s_per_gb(sample: Sample) -> float | None:
    return sample.cpu_s_per_gb


def _memory_mb(sample: Sample) -> float | None:
    return None if sample.peak_rss_bytes is None else sample.peak_rss_bytes / MEGABYTE


def _first_byte_ms(sample: Sample) -> float | None:
    return None if sample.first_byte_s is None else 1000 * sample.first_byte_s


def _after_last_byte_s(sample: Sample) -> float | None:
    return sample.after_last_byte_s


def _idle_percent(sample: Sample) -> float | None:
    return None if sample.idle_cpu_share is None else 100 * sample.idle_cpu_share


def _sooner(measured: Measured, what: str, against: str, bounds: Sequence[tuple[str, float]]) -> tuple[Goal, ...]:
    """How many times sooner the gateway is, for each workload."""
    return tuple(
        Goal(workload, f"{workload.upper()}: {what}", "x", measured, _GATEWAY, against, Form.SOONER, at_least=bound)
        for workload, bound in bounds
    )


_GATEWAY, _DIRECT, _IDEAL = Way.GATEWAY.value, Way.DIRECT.value, Way.IDEAL.value
_PYNETDICOM, _STORE_AND_FORWARD = Way.PYNETDICOM.value, Way.STORE_AND_FORWARD.value
_CT_MR = ("ct", "mr")
_TUNED, _ONE_SENDER = Peers.TUNED, "1 sender"
_IDLE = f"{IDLE_COUNT} idle associations"
_NOT_IDLE = "no idle associations"
_ROOM = {"scp.associations": "1000", "scp.associations_per_peer": "1000"}
_PATIENT = {**_ROOM, "scp.idle_timeout_s": "3600"}


def _overlapping(count: int) -> Case:
    variant = _ONE_SENDER if count == 1 else f"{count} senders"
    return Case(
        Way.GATEWAY, SenderKind.IDEAL, DestinationKind.SINK, _TUNED, variant, associations=count, settings=_ROOM
    )


def _recorded(way: Way, peers: Peers) -> Case:
    return Case(way, peers=peers, variant=f"{way}, recorded", probe=Probe.WIRE)


FIGURES: tuple[Figure, ...] = (
    Figure(
        1,
        "stock storescu, all acknowledged: the gateway, durable, against stock storescp",
        _CT_MR,
        (
            Case(Way.GATEWAY, destination=DestinationKind.SINK),
            Case(Way.DIRECT, destination=DestinationKind.STORESCP, is_slow=True),
        ),
        _sooner(_acknowledged_s, "all acknowledged, times sooner than by storescp", _DIRECT, (("ct", 15), ("mr", 20))),
    ),
    Figure(
        2,
        "tuned storescu, all acknowledged: the gateway, durable, against tuned storescp, which does not sync",
        _CT_MR,
        (
            Case(Way.GATEWAY, destination=DestinationKind.SINK, peers=_TUNED),
            Case(Way.DIRECT, destination=DestinationKind.STORESCP, peers=_TUNED),
            Case(Way.RELAY, destination=DestinationKind.STORESCP, peers=_TUNED),
        ),
        _sooner(
            _acknowledged_s,
            "all acknowledged durably, times the speed of storescp",
            _DIRECT,
            (("ct", 0.7), ("mr", 0.5)),
        ),
    ),
    Figure(
        3,
        "stock storescu to stock Orthanc, all delivered: through the gateway against directly",
        _CT_MR,
        (
            Case(Way.GATEWAY),
            Case(Way.DIRECT, is_slow=True),
            Case(Way.IDEAL, SenderKind.IDEAL, associations=4),
        ),
        (
            *_sooner(_delivered_s, "all delivered, times sooner than directly", _DIRECT, (("ct", 10), ("mr", 18))),
            *(
                Goal(
                    workload,
                    f"{workload.upper()}: all delivered, times what this Orthanc needs at best",
                    "x",
                    _delivered_s,
                    _GATEWAY,
                    _IDEAL,
                    Form.COST,
                    at_most=1.15,
                )
                for workload in _CT_MR
            ),
        ),
        (_recorded(Way.DIRECT, Peers.STOCK), _recorded(Way.GATEWAY, Peers.STOCK)),
    ),
    Figure(
        4,
        "tuned storescu to tuned Orthanc, all delivered: through the gateway and its comparators against directly",
        _CT_MR,
        (
            Case(Way.GATEWAY, peers=_TUNED),
            Case(Way.DIRECT, peers=_TUNED),
            Case(Way.RELAY, peers=_TUNED),
            Case(Way.STORE_AND_FORWARD, peers=_TUNED),
            Case(Way.ORTHANC, peers=_TUNED, is_slow=True),
            Case(Way.PYNETDICOM, peers=_TUNED, is_slow=True),
        ),
        _sooner(_delivered_s, "all delivered, times the speed of sending directly", _DIRECT, (("ct", 1), ("mr", 1))),
        (_recorded(Way.DIRECT, _TUNED), _recorded(Way.GATEWAY, _TUNED)),
    ),
    Figure(
        5,
        "stock Orthanc A to stock Orthanc B, all delivered: through the gateway against directly",
        _CT_MR,
        (Case(Way.GATEWAY, SenderKind.ORTHANC), Case(Way.DIRECT, SenderKind.ORTHANC, is_slow=True)),
        _sooner(_delivered_s, "all delivered, times sooner than directly", _DIRECT, (("ct", 7), ("mr", 7))),
    ),
    Figure(
        6,
        "CPU for each gigabyte received, spooled and delivered: the gateway against pynetdicom in its handler",
        _CT_MR,
        (
            Case(Way.GATEWAY, peers=_TUNED),
            Case(Way.PYNETDICOM, peers=_TUNED, is_slow=True),
            Case(Way.RELAY, peers=_TUNED),
        ),
        (
            *(
                Goal(
                    workload,
                    f"{workload.upper()}: CPU of the gateway",
                    "CPU-s/GB",
                    _cpu_s_per_gb,
                    _GATEWAY,
                    at_most=most,
                )
                for workload, most in (("ct", 2.5), ("mr", 5.0))
            ),
            *(
                Goal(
                    workload,
                    f"{workload.upper()}: CPU, times that of pynetdicom",
                    "x",
                    _cpu_s_per_gb,
                    _GATEWAY,
                    _PYNETDICOM,
                    Form.COST,
                    at_most=0.25,
                )
                for workload in _CT_MR
            ),
        ),
        (Case(Way.GATEWAY, peers=_TUNED, variant=TRACED, probe=Probe.SYSCALLS),),
    ),
    Figure(
        7,
        "memory above idle: while an object of 4 GB passes, and while 8 associations pass CT",
        ("4gb", "ct"),
        (Case(Way.GATEWAY, SenderKind.IDEAL, DestinationKind.SINK, _TUNED, associations=8, settings=_ROOM),),
        (
            Goal("4gb", "4 GB: memory above idle", "MB", _memory_mb, _GATEWAY, at_most=MEMORY_GOAL_MB),
            Goal("ct", "CT, 8 associations: memory above idle", "MB", _memory_mb, _GATEWAY, at_most=MEMORY_GOAL_MB),
        ),
    ),
    Figure(
        8,
        "one object of 1 GB: first byte in to first byte out, and last byte in to all delivered",
        ("1gb",),
        (
            Case(Way.GATEWAY, SenderKind.IDEAL, DestinationKind.SINK, _TUNED),
            Case(Way.STORE_AND_FORWARD, SenderKind.IDEAL, DestinationKind.SINK, _TUNED),
            Case(Way.RELAY, SenderKind.IDEAL, DestinationKind.SINK, _TUNED),
        ),
        (
            Goal("1gb", "1 GB: first byte in to first byte out", "ms", _first_byte_ms, _GATEWAY, at_most=50),
            Goal(
                "1gb",
                "1 GB: delivered after the last byte in, times store and forward",
                "x",
                _after_last_byte_s,
                _GATEWAY,
                _STORE_AND_FORWARD,
                Form.COST,
                at_most=0.1,
            ),
        ),
    ),
    Figure(
        9,
        "overlapping senders: total rate, memory and losses against one sender",
        ("ct",),
        tuple(_overlapping(count) for count in (1, 2, 4, 8, 16)),
        (
            *(
                Goal(
                    "ct",
                    f"CT: total rate of {count} senders, times that of one",
                    "x",
                    _acknowledged_s,
                    f"{count} senders",
                    _ONE_SENDER,
                    Form.SOONER,
                    at_least=0.9,
                )
                for count in (2, 4, 8, 16)
            ),
            Goal(
                "ct", "CT: memory above idle with 16 senders", "MB", _memory_mb, "16 senders", at_most=OVERLOAD_GOAL_MB
            ),
        ),
    ),
    Figure(
        10,
        f"{IDLE_COUNT} idle associations: what they cost, and what they cost the busy ones",
        ("ct",),
        (
            Case(
                Way.GATEWAY,
                SenderKind.IDEAL,
                DestinationKind.SINK,
                _TUNED,
                _IDLE,
                associations=4,
                idle_associations=IDLE_COUNT,
                idle_s=IDLE_WATCH_S,
                settings=_PATIENT,
            ),
            Case(
                Way.GATEWAY,
                SenderKind.IDEAL,
                DestinationKind.SINK,
                _TUNED,
                _NOT_IDLE,
                associations=4,
                settings=_PATIENT,
            ),
        ),
        (
            Goal("ct", f"{IDLE_COUNT} idle associations: share of one core", "%", _idle_percent, _IDLE, at_most=1.0),
            Goal(
                "ct",
                f"{IDLE_COUNT} idle associations: what busy ones lose",
                "%",
                _acknowledged_s,
                _IDLE,
                _NOT_IDLE,
                Form.LOSS,
                at_most=5.0,
            ),
        ),
    ),
)
