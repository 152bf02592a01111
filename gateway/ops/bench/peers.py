"""The systems around the gateway, each started for one transfer and ended after it: what sends, and what receives."""

import os
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from gateway.domain.peer import ApplicationEntity
from gateway.errors import DeadlineExceeded, PeerSystemError
from gateway.ops.bench import sender, sink
from gateway.ops.bench.ready import PORT_FILE
from gateway.ops.bench.result import Peers
from gateway.ops.bench.workload import Series, Source, StreamedObject
from gateway.ops.counterparts import LOOPBACK, OrthancServer, StoreScp, run_tool
from gateway.ops.process import GuardedProcess
from gateway.scu.orthanc import OrthancNode
from gateway.scu.orthanc_answers import JobState, Level

ORTHANC_A, ORTHANC_B, STORESCU = "ORTHANC_A", "ORTHANC_B", "STORESCU"
DEADLINE_S = 900.0
"""For one transfer. A stock pair takes some two minutes for the slowest workload."""
START_DEADLINE_S = 30.0
POLL_S = 0.01
MODALITY = "next"
"""What an Orthanc that sends knows the called system by."""


def environment(peers: Peers) -> dict[str, str]:
    """What makes DCMTK and Orthanc send at once, or nothing."""
    return {"TCP_NODELAY": "1"} if peers is Peers.TUNED else {}


class SenderKind(Enum):
    """Who sends. Stock or tuned where it is DCMTK's or Orthanc's."""

    STORESCU = "storescu"
    IDEAL = "ideal sender"
    ORTHANC = "Orthanc"


class DestinationKind(Enum):
    """Who receives."""

    SINK = "counting sink"
    STORESCP = "storescp"
    ORTHANC = "Orthanc"


@dataclass(frozen=True, slots=True)
class Sending:
    """When the sender began and was done, on the monotonic clock; each instance where the sender tells."""

    began_at: float
    acknowledged_at: float
    outcome: sender.Outcome | None = None


class Sender(ABC):
    """Sends one series, or one streamed object, to an application entity, and returns when all of it is answered."""

    @abstractmethod
    def send(self, called: ApplicationEntity) -> Sending:
        """Raises PeerSystemError where not everything was taken."""


class StoreScu(Sender):
    """DCMTK's storescu: its start and its look through the folder are part of the time."""

    def __init__(self, series: Series, peers: Peers) -> None:
        self._series = series
        self._peers = peers

    def send(self, called: ApplicationEntity) -> Sending:
        began_at = time.monotonic()
        storescu(self._series.folder, called, self._peers)
        return Sending(began_at, time.monotonic())


def storescu(folder: Path, called: ApplicationEntity, peers: Peers) -> None:
    """Send a folder.

    Raises:
        PeerSystemError: it did not send everything; with its last words.
    """
    sent = run_tool(
        "storescu", "-aec", called.title, "+sd", called.host, str(called.port), folder,
        timeout_s=DEADLINE_S, env=environment(peers),
    )  # fmt: skip
    if sent.returncode or "E: " in sent.stderr:
        raise PeerSystemError(f"storescu to {called} failed: {(sent.stderr.strip().splitlines() or ['no words'])[-1]}")


class IdealSender(Sender):
    """`bench.sender` as a process of its own."""

    def __init__(self, source: Source, associations: int, scratch: Path) -> None:
        self._source = source
        self._associations = associations
        self._scratch = scratch

    def send(self, called: ApplicationEntity) -> Sending:
        folder = Path(tempfile.mkdtemp(prefix="sender-", dir=self._scratch))
        (folder / "task").write_bytes(sender.TASK.dump_json(self._task(called)))
        log = folder / "log"
        program = program_of("sender", folder / "task", folder / "result", log=log)
        try:
            wait_for(lambda: program.exit_code is not None, DEADLINE_S, "the ideal sender is not done")
            if program.exit_code:
                said = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
                raise PeerSystemError(f"the ideal sender failed; it said: {said[-1]}")
        finally:
            program.stop(tidy=False)
        outcome = sender.read_outcome(folder / "result")
        if failed := {one.status for one in outcome.sent} - {0}:
            raise PeerSystemError(f"{called} answered with status {', '.join(f'0x{status:04X}' for status in failed)}")
        return Sending(outcome.began_at, outcome.ended_at, outcome)

    def _task(self, called: ApplicationEntity) -> sender.Task:
        if isinstance(self._source, StreamedObject):
            return sender.Task(called.title, called.host, called.port, 1, streamed=self._source.workload)
        items = tuple(
            sender.Item(
                entry.file.sop_class_uid,
                entry.file.sop_instance_uid,
                entry.file.transfer_syntax_uid,
                str(entry.file.path),
                entry.file.data_offset,
            )
            for entry in self._source.files
        )
        return sender.Task(called.title, called.host, called.port, self._associations, items)


class OrthancSender(Sender):
    """An Orthanc that holds the series and sends it as one job."""

    def __init__(self, series: Series, node: OrthancNode) -> None:
        self._node = node
        for entry in series.files:
            node.upload(entry.file.path.read_bytes())
        self._patients = [
            orthanc_id for patient in series.patient_ids for orthanc_id in node.lookup(Level.PATIENT, patient)
        ]

    def send(self, called: ApplicationEntity) -> Sending:
        self._node.register_modality(MODALITY, called.title, called.host, called.port)
        began_at = time.monotonic()
        job = self._node.wait_for_job(self._node.submit(MODALITY, self._patients), DEADLINE_S)
        if job.state is not JobState.SUCCESS:
            raise PeerSystemError(f"Orthanc could not send to {called}: {job.error}")
        return Sending(began_at, time.monotonic())


@contextmanager
def sender_of(kind: SenderKind, source: Source, peers: Peers, associations: int, scratch: Path) -> Iterator[Sender]:
    """A sender with everything ready to go."""
    match kind, source:
        case SenderKind.IDEAL, _:
            yield IdealSender(source, associations, scratch)
        case SenderKind.STORESCU, Series():
            yield StoreScu(source, peers)
        case SenderKind.ORTHANC, Series():
            with (
                OrthancServer("A", ORTHANC_A, env=environment(peers), scratch=scratch) as server,
                server.node() as node,
            ):
                yield OrthancSender(source, node)
        case _:
            raise PeerSystemError("only the ideal sender can send what is made on the fly")


class Destination(ABC):
    """Where everything is to arrive."""

    def __init__(self, ae: ApplicationEntity) -> None:
        self.ae = ae

    @abstractmethod
    def count(self) -> int:
        """Instances it has; cheap enough to be asked while it works."""

    def arrived(self) -> list[sink.Arrived]:
        """Every arrival with its digest; empty where it does not tell."""
        return []


class SinkDestination(Destination):
    """`bench.sink` as a process of its own."""

    def __init__(self, folder: Path, ae: ApplicationEntity) -> None:
        super().__init__(ae)
        self._folder = folder
        self._counted = 0
        self._offset = 0

    def count(self) -> int:
        with (self._folder / sink.ARRIVALS_FILE).open("rb") as file:
            file.seek(self._offset)
            added = file.read()
        self._offset += len(added)
        self._counted += added.count(b"\n")
        return self._counted

    def arrived(self) -> list[sink.Arrived]:
        return list(sink.arrivals(self._folder))


class StoreScpDestination(Destination):
    """DCMTK's storescp, which writes files and does not sync them."""

    def __init__(self, program: StoreScp) -> None:
        super().__init__(_ae(program.aet, program.port))
        self._program = program

    def count(self) -> int:
        return len(os.listdir(self._program.received))


class OrthancDestination(Destination):
    """An Orthanc, empty at the start."""

    def __init__(self, aet: str, port: int, node: OrthancNode) -> None:
        super().__init__(_ae(aet, port))
        self._node = node

    def count(self) -> int:
        return self._node.count_instances()


@contextmanager
def destination_of(kind: DestinationKind, peers: Peers, scratch: Path) -> Iterator[Destination]:
    """An empty destination, running."""
    match kind:
        case DestinationKind.SINK:
            folder = Path(tempfile.mkdtemp(prefix="sink-", dir=scratch))
            with running("sink", folder, log=folder / "log") as program:
                yield SinkDestination(folder, _ae("SINK", port_in(folder, program)))
        case DestinationKind.STORESCP:
            with StoreScp("STORESCP", env=environment(peers), scratch=scratch) as storescp:
                yield StoreScpDestination(storescp)
        case DestinationKind.ORTHANC:
            with (
                OrthancServer("B", ORTHANC_B, env=environment(peers), scratch=scratch) as server,
                server.node() as node,
            ):
                yield OrthancDestination(ORTHANC_B, server.dicom_port, node)


def program_of(module: str, *args: Path | str, log: Path, env: Mapping[str, str] | None = None) -> GuardedProcess:
    """A program of this package as a process of its own, which ends with us."""
    argv = [sys.executable, "-m", f"gateway.ops.bench.{module}", *map(str, args)]
    return GuardedProcess(argv, log=log, env=env or {}, folder_to_remove=None)


@contextmanager
def running(module: str, *args: Path | str, log: Path) -> Iterator[GuardedProcess]:
    """The same, ended at the end."""
    program = program_of(module, *args, log=log)
    try:
        yield program
    finally:
        program.stop(tidy=False)


def port_in(folder: Path, program: GuardedProcess) -> int:
    """The port a program of this package has written to its folder, once it listens.

    Raises:
        PeerSystemError: it ended instead.
    """
    file = folder / PORT_FILE
    wait_for(
        lambda: file.exists() or program.exit_code is not None,
        START_DEADLINE_S,
        "a part of the benchmark does not start",
    )
    if not file.exists():
        said = (folder / "log").read_text(errors="replace").strip().splitlines() or ["nothing"]
        raise PeerSystemError(f"a part of the benchmark did not start; it said: {said[-1]}")
    return int(file.read_text())


def wait_for(condition: Callable[[], bool], timeout_s: float, complaint: str) -> None:
    """Wait until it is true.

    Raises:
        DeadlineExceeded: it was not in time.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise DeadlineExceeded(f"{complaint} after {timeout_s:g} s")
        time.sleep(POLL_S)


def _ae(title: str, port: int) -> ApplicationEntity:
    return ApplicationEntity(title, "", LOOPBACK, port)
