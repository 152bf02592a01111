"""What a benchmark run found: one value, written as JSON and read back.

A `Run` holds `Sample`s, one for each transfer that was timed, and `Verdict`s, one for each goal they were held to.
Nothing is averaged here: medians and intervals are made from the samples by whoever compares or reports.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from gateway.errors import InputError

FORMAT_VERSION = 1
"""Of the JSON. Raised when an older reader would misread a newer file; new optional fields do not need that."""

BYTES_PER_GB = 1_000_000_000
"""Rates are in decimal units, as network rates are."""

SHOWN_PROBLEM_COUNT = 3
"""Of a file that is not a run: enough to see what is wrong with it."""


class Peers(StrEnum):
    """How the systems around the gateway are set up."""

    STOCK = "stock"
    """As Debian installs them."""
    TUNED = "tuned"
    """TCP_NODELAY=1 in the environment of DCMTK and Orthanc."""


class Way(StrEnum):
    """How instances get from the sender to the destination: the gateway and its comparators."""

    DIRECT = "direct"
    """The sender calls the destination itself."""
    STORE_AND_FORWARD = "store and forward"
    """DCMTK's storescp receives everything, then storescu sends it on."""
    ORTHANC = "orthanc routing"
    """An Orthanc between, with a Lua script OnStoredInstance that sends each instance on."""
    PYNETDICOM = "pynetdicom"
    """A pynetdicom receiver that sends each instance on in its handler."""
    RELAY = "tcp relay"
    """A plain relay of bytes: nothing is read, decided or kept. The upper bound."""
    IDEAL = "ideal sender"
    """Pre-encoded instances from memory, on as many associations as the gateway uses, to the destination itself."""
    GATEWAY = "gateway"
    """Through the gateway: consent decided for each instance, durable before it is acknowledged."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the run took place. A version is empty where the program is not on the machine."""

    gateway_version: str
    python_version: str
    dcmtk_version: str
    orthanc_version: str
    pynetdicom_version: str
    kernel: str
    cpu_model: str
    cpu_count: int
    disk_sync_p50_s: float
    """One fdatasync after writing 512 KiB to a new file, where the spool is."""
    disk_sync_p99_s: float
    load_average: float
    """Runnable processes over the last minute, when the run began."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the last byte of a request to its response."""

    p50_s: float
    p95_s: float
    p99_s: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many gaps were shorter than `below_s`, and not shorter than the bucket before says; None is no bound."""

    below_s: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Stage:
    """What the gateway spent in one stage of its work: accept, head, decision, spool, sync, queue and so on."""

    name: str
    count: int
    seconds: float


@dataclass(frozen=True, slots=True)
class WireLength:
    """The longest P-DATA-TF seen on one leg in one direction, without its six header bytes."""

    leg: str
    """"sender", from it and to it; or "destination"."""
    direction: str
    """"request" towards the destination, "response" back."""
    largest_bytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One transfer: what was sent which way, and what was measured. None is not measured, never zero.

    Times count from the start of storescu, the order to the sending Orthanc, or the first byte of the ideal sender.
    """

    figure: int
    """Number of the figure it belongs to."""
    workload: str
    way: Way
    peers: Peers
    round: int
    """From 1. Samples of the same round were taken one right after the other."""
    instances: int
    data_bytes: int
    """Of all data sets, without PDU headers and file meta information."""

    variant: str = ""
    """What else distinguishes samples of one figure: "4 senders", "500 idle associations". Empty is the plain case."""
    link: str = "loopback"
    """What is between sender and destination, such as "20 ms, 1 Gbit/s"."""
    senders: int = 1
    associations: int | None = None
    """Associations to the destination, where that was observed or chosen."""
    is_extrapolated: bool = False
    """Measured on `measured_instances` and scaled up to `instances`, times and CPU alike."""
    measured_instances: int | None = None

    acknowledged_s: float | None = None
    """Until the sender had all its responses."""
    delivered_s: float | None = None
    """Until the destination had every instance."""
    first_instance_s: float | None = None
    """Until the first whole instance was at the destination."""
    first_byte_s: float | None = None
    """From the first byte of a data set in to the first byte of a data set at the destination."""
    after_last_byte_s: float | None = None
    """From the sender's last byte to the destination's having everything."""
    latency: Latency | None = None
    gaps: tuple[Bucket, ...] = ()
    """Histogram of the waits for a response, where they were observed on the wire."""
    cpu_user_s: float | None = None
    """Of what stands between sender and destination, all its processes."""
    cpu_system_s: float | None = None
    syscalls_per_instance: float | None = None
    syncs_per_instance: float | None = None
    peak_rss_bytes: int | None = None
    """Highest resident memory above that of the idle process before."""
    idle_cpu_share: float | None = None
    """CPU-seconds per second while nothing is sent."""
    lost_count: int | None = None
    """Acknowledged instances that are not at the destination, or not with the digest they were sent with."""
    duplicated_count: int | None = None
    """Instances that reached the destination more than once."""
    wire: tuple[WireLength, ...] = ()
    stages: tuple[Stage, ...] = ()

    @property
    def cpu_s(self) -> float | None:
        """User and system together."""
        if self.cpu_user_s is None or self.cpu_system_s is None:
            return None
        return self.cpu_user_s + self.cpu_system_s

    @property
    def cpu_s_per_gb(self) -> float | None:
        """CPU-seconds for each gigabyte (10**9 bytes) of data sets received and delivered."""
        return None if self.cpu_s is None or not self.data_bytes else self.cpu_s * BYTES_PER_GB / self.data_bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal of a figure and what became of it: medians over the rounds, as one number."""

    figure: int
    what: str
    """In words, such as "CT: all acknowledged, times sooner than stock storescp"."""
    unit: str
    """Of both numbers: "x", "ms", "MB", "CPU-s/GB", "%"."""
    value: float | None
    """None where it could not be measured here."""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_reached(self) -> bool | None:
        """None where it was not measured."""
        if self.value is None:
            return None
        above = self.at_least is None or self.value >= self.at_least
        below = self.at_most is None or self.value <= self.at_most
        return above and below


@dataclass(frozen=True, slots=True)
class Run:
    """Everything one `gateway bench run` found."""

    command_line: str
    started_at: str
    """ISO 8601, UTC."""
    environment: Environment
    samples: tuple[Sample, ...]
    verdicts: tuple[Verdict, ...] = ()
    remarks: tuple[str, ...] = ()
    """What the numbers mean where they need words: a stall seen and its remedy, something not measured and why."""
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """As text; `read_run` gives it back equal."""
        return _RUN.dump_json(self, indent=2).decode()


_RUN: TypeAdapter[Run] = TypeAdapter(Run)


def read_run(path: Path) -> Run:
    """The run in a file.

    Raises:
        InputError: the file cannot be read, is of another format version, or holds something else.
    """
    try:
        return parse_run(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def parse_run(text: str | bytes) -> Run:
    """The run in a text.

    Raises:
        InputError: it is no JSON, of another format version, or something else than a run.
    """
    try:
        parsed = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise InputError(f"expected the JSON of a benchmark run: {error}") from None
    version = parsed.get("format_version") if isinstance(parsed, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(
            f"expected the JSON of a benchmark run with format_version {FORMAT_VERSION}, not {version!r}; "
            "make it anew with `gateway bench run`"
        )
    try:
        return _RUN.validate_json(text, strict=True)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise InputError("not the JSON of a benchmark run: " + "; ".join(problems[:SHOWN_PROBLEM_COUNT])) from None


def write_run(run: Run, path: Path) -> None:
    """Write the run to a file, replacing what was there.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.write_text(run.to_json() + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
