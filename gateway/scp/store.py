"""C-STORE (PS3.4 Annex B): head, decision, spool, acknowledgement.

Nothing of an instance is written before its head has been read and somebody may have it; 0x0000 is answered when
its spool record is durable. The answers, all in one place, are `Answer`s:

    a destination is permitted, record durable      0x0000
    every destination denied                        0x0124, with a comment that reveals nothing clinical
    no route                                        0xA700, so that it can be sent again once there is one
    spool full, disk, database or consents unusable 0xA700
    head unreadable or identifiers malformed        0xC000
    command set and data set name different things  0xA900
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import chain
from time import perf_counter

from gateway import log
from gateway.domain.instance import InstanceHead
from gateway.domain.peer import ApplicationEntity
from gateway.domain.transfer import Arrival, Plan, SpoolRecord
from gateway.errors import LimitExceeded, MalformedDataSet, SpoolFull, StoreError
from gateway.metrics import Metrics, Stage
from gateway.planning import Planner
from gateway.store.spool import Spool, SpoolWriter
from gateway.transfer.arrivals import Arrivals
from gateway.transfer.cut_through import CUT_THROUGH_BYTES
from gateway.transfer.head import UNTIL, WANTED, HeadReader
from gateway.wire.command import ERROR_COMMENT_LIMIT, CStoreRQ, CStoreRSP
from gateway.wire.head import HEAD_LIMIT_BYTES, HeadWalker
from gateway.wire.status import (
    CANNOT_UNDERSTAND,
    DATA_SET_DOES_NOT_MATCH,
    NOT_AUTHORIZED,
    OUT_OF_RESOURCES,
    SUCCESS,
)

Fragments = Sequence[memoryview | bytearray]


class Result(StrEnum):
    """How a C-STORE ended, for counting."""

    STORED = "stored"
    DENIED = "denied"
    NO_ROUTE = "no_route"
    UNAVAILABLE = "unavailable"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the peer is told, and how it is counted."""

    result: Result
    status: int
    comment: str | None = None


STORED = Answer(Result.STORED, SUCCESS)
DENIED = Answer(Result.DENIED, NOT_AUTHORIZED, "Not authorized")
NO_ROUTE = Answer(Result.NO_ROUTE, OUT_OF_RESOURCES, "No route from this AE title to this called AE title")
FULL = Answer(Result.UNAVAILABLE, OUT_OF_RESOURCES, "Out of space")
TOO_LARGE = Answer(Result.UNAVAILABLE, OUT_OF_RESOURCES, "Instance larger than this gateway accepts")
UNAVAILABLE = Answer(Result.UNAVAILABLE, OUT_OF_RESOURCES, "Temporarily unable to store")
MISMATCH = Answer(Result.MALFORMED, DATA_SET_DOES_NOT_MATCH, "SOP class or instance differs from the command")

ODD_LENGTH = Answer(Result.MALFORMED, CANNOT_UNDERSTAND, "Data set of odd length")
"""PS3.5 §7.1: no element has one, so no data set does, and nobody could be sent it."""


HEAD_TOO_LONG = Answer(Result.MALFORMED, CANNOT_UNDERSTAND, "Identifiers are too far into the data set")


def malformed(why: str) -> Answer:
    return Answer(Result.MALFORMED, CANNOT_UNDERSTAND, why[:ERROR_COMMENT_LIMIT])


@dataclass(frozen=True, slots=True)
class Store:
    """The storage service. Holds nothing between requests; safe to use from any thread."""

    planner: Planner
    spool: Spool
    arrivals: Arrivals
    metrics: Metrics
    clock: Callable[[], datetime]
    instance_limit_bytes: int

    def on(self, source: ApplicationEntity, arrival: Arrival) -> "AssociationStore":
        """The service for one association."""
        return AssociationStore(self, source, arrival)


class AssociationStore:
    """The storage service on one association. Owned by its thread."""

    def __init__(self, store: Store, source: ApplicationEntity, arrival: Arrival) -> None:
        self._store = store
        self._source = source
        self._arrival = arrival
        self._heads = HeadReader(arrival.institution_oid)
        metrics = store.metrics
        self._stages = metrics.stages
        self._received_bytes = metrics.received_bytes.labels(source.title)
        self._received = {result: metrics.instances_received.labels(source.title, result) for result in Result}

    def store(self, request: CStoreRQ, transfer_syntax_uid: str, data: Iterator[Fragments]) -> CStoreRSP:
        """Take one instance in, reading `data` to its end whatever the answer is.

        Raises:
            ProtocolError, NetworkError: from `data`; nothing of the instance is kept.
        """
        answer = self._answer(request, transfer_syntax_uid, data)
        for _ in data:  # a refused data set still comes to its end; DIMSE cannot stop it
            pass
        self._received[answer.result].inc()
        return CStoreRSP(
            request.message_id,
            request.affected_sop_class_uid,
            request.affected_sop_instance_uid,
            answer.status,
            error_comment=answer.comment,
        )

    def _answer(self, request: CStoreRQ, transfer_syntax_uid: str, data: Iterator[Fragments]) -> Answer:
        began_at = perf_counter()
        walked = self._walk(transfer_syntax_uid, data)
        if isinstance(walked, Answer):
            return walked
        head = walked.head
        named = (request.affected_sop_class_uid, request.affected_sop_instance_uid)
        if (head.sop_class_uid, head.sop_instance_uid) != named:
            return MISMATCH
        understood_at = perf_counter()
        self._stages.add(Stage.HEAD, understood_at - began_at)
        try:
            plan = self._store.planner.plan(head, self._source, self._arrival.called_ae_title)
            self._stages.add(Stage.DECISION, perf_counter() - understood_at)
            if not plan.permitted:
                return self._refuse(plan)
            return self._spool(head, plan, walked.fragments, data)
        except SpoolFull:
            log.get(__name__).error("spool_full")
            return FULL
        except StoreError as error:
            log.get(__name__).error("store_failed", error=error)
            return UNAVAILABLE

    def _walk(self, transfer_syntax_uid: str, data: Iterator[Fragments]) -> "_Walked | Answer":
        """Read as much of the data set as its head needs."""
        walker = HeadWalker(transfer_syntax_uid, WANTED, UNTIL)
        read = bytearray()
        for fragments in data:
            try:
                if any(walker.feed(fragment) for fragment in fragments):
                    head = self._heads.read(walker.elements, transfer_syntax_uid)
                    return _Walked(head, (read, *fragments) if read else fragments)
            except (MalformedDataSet, LimitExceeded) as error:
                return malformed(str(error))
            for fragment in fragments:
                read += fragment
            if len(read) > HEAD_LIMIT_BYTES:  # the walker bounds what is inflated; a deflated head may never be
                return HEAD_TOO_LONG
        try:
            walker.finish()
            return _Walked(self._heads.read(walker.elements, transfer_syntax_uid), (read,))
        except (MalformedDataSet, LimitExceeded) as error:
            return malformed(str(error))

    def _refuse(self, plan: Plan) -> Answer:
        if not plan.destinations:
            return NO_ROUTE
        self._count(plan)
        self._store.arrivals.enter_denials(plan)
        return DENIED

    def _spool(self, head: InstanceHead, plan: Plan, first: Fragments, rest: Iterable[Fragments]) -> Answer:
        writer = self._store.spool.create()
        try:
            refused = self._write(writer, head, plan, chain((first,), rest))
            if refused:
                return refused
            record = self._record(writer, head, plan)
            began_at = perf_counter()
            writer.commit(record)
            self._stages.add(Stage.SYNC, perf_counter() - began_at)
        finally:
            if writer.abandon():
                self._store.arrivals.broke_off(writer.record_id)
        self._store.arrivals.enter(record)
        self._count(plan)
        self._received_bytes.inc(record.data_bytes)
        return STORED

    def _write(self, writer: SpoolWriter, head: InstanceHead, plan: Plan, data: Iterable[Fragments]) -> Answer | None:
        """Write the data set as it comes, and let it leave early if it is large. An answer when it is refused."""
        store = self._store
        spooling_s = 0.0
        was_offered, arriving = False, None
        for fragments in data:
            began_at = perf_counter()
            writer.write(fragments)
            spooling_s += perf_counter() - began_at
            if writer.data_bytes > store.instance_limit_bytes:
                return TOO_LARGE
            if writer.written_bytes >= CUT_THROUGH_BYTES and not was_offered:
                was_offered = True
                arriving = store.arrivals.begin_early(writer.record_id, head, plan, self._arrival, store.clock())
            if arriving:
                arriving.publish(writer.written_bytes)
        self._stages.add(Stage.SPOOL, spooling_s)
        return ODD_LENGTH if writer.data_bytes % 2 else None

    def _record(self, writer: SpoolWriter, head: InstanceHead, plan: Plan) -> SpoolRecord:
        return SpoolRecord(
            record_id=writer.record_id,
            head=head,
            data_bytes=writer.data_bytes,
            sha256=writer.sha256(),
            received_at=self._store.clock(),
            arrival=self._arrival,
            plan=plan,
            xxh3_128=writer.xxh3_128(),
        )

    def _count(self, plan: Plan) -> None:
        for planned in plan.destinations:
            verdict = planned.decision.verdict
            self._store.metrics.decisions.labels(verdict.outcome, verdict.reason).inc()


@dataclass(frozen=True, slots=True)
class _Walked:
    """A head, and all that was read so far: the earlier fragments joined in a copy, the last ones still views."""

    head: InstanceHead
    fragments: Fragments
