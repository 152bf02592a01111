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

from gateway import log
from gateway.domain.instance import InstanceHead
from gateway.domain.peer import ApplicationEntity
from gateway.domain.transfer import Arrival, Plan, SpoolRecord
from gateway.errors import LimitExceeded, MalformedDataSet, SpoolFull, StoreError
from gateway.metrics import Metrics
from gateway.planning import Planner
from gateway.store.spool import Spool, SpoolWriter
from gateway.transfer.arrivals import Arrivals
from gateway.transfer.head import UNTIL, WANTED, instance_head
from gateway.wire.command import ERROR_COMMENT_LIMIT, CStoreRQ, CStoreRSP
from gateway.wire.head import HEAD_LIMIT_BYTES, HeadWalker
from gateway.wire.status import (
    CANNOT_UNDERSTAND,
    DATA_SET_DOES_NOT_MATCH,
    NOT_AUTHORIZED,
    OUT_OF_RESOURCES,
    SUCCESS,
)

Fragments = Sequence[memoryview]


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

    def store(
        self,
        request: CStoreRQ,
        transfer_syntax_uid: str,
        source: ApplicationEntity,
        arrival: Arrival,
        data: Iterator[Fragments],
    ) -> CStoreRSP:
        """Take one instance in, reading `data` to its end whatever the answer is.

        Raises:
            ProtocolError, NetworkError: from `data`; nothing of the instance is kept.
        """
        answer = self._answer(request, transfer_syntax_uid, source, arrival, data)
        for _ in data:  # a refused data set still comes to its end; DIMSE cannot stop it
            pass
        self.metrics.instances_received.labels(source.title, answer.result).inc()
        return CStoreRSP(
            request.message_id,
            request.affected_sop_class_uid,
            request.affected_sop_instance_uid,
            answer.status,
            error_comment=answer.comment,
        )

    def _answer(
        self,
        request: CStoreRQ,
        transfer_syntax_uid: str,
        source: ApplicationEntity,
        arrival: Arrival,
        data: Iterator[Fragments],
    ) -> Answer:
        walked = _walk(transfer_syntax_uid, arrival.institution_oid, data)
        if isinstance(walked, Answer):
            return walked
        head = walked.head
        named = (request.affected_sop_class_uid, request.affected_sop_instance_uid)
        if (head.sop_class_uid, head.sop_instance_uid) != named:
            return MISMATCH
        try:
            plan = self.planner.plan(head, source, arrival.called_ae_title)
            if not plan.permitted:
                return self._refuse(plan)
            return self._spool(head, plan, arrival, walked.fragments, data)
        except SpoolFull:
            log.get(__name__).error("spool_full")
            return FULL
        except StoreError as error:
            log.get(__name__).error("store_failed", error=error)
            return UNAVAILABLE

    def _refuse(self, plan: Plan) -> Answer:
        if not plan.destinations:
            return NO_ROUTE
        self._count(plan)
        self.arrivals.enter_denials(plan)
        return DENIED

    def _spool(
        self, head: InstanceHead, plan: Plan, arrival: Arrival, first: Fragments, rest: Iterable[Fragments]
    ) -> Answer:
        writer = self.spool.create()
        try:
            for fragments in chain((first,), rest):
                writer.write(fragments)
                if writer.data_bytes > self.instance_limit_bytes:
                    return TOO_LARGE
            if writer.data_bytes % 2:
                return ODD_LENGTH
            record = self._record(writer, head, plan, arrival)
            writer.commit(record)
        finally:
            writer.abandon()
        self.arrivals.enter(record)
        self._count(plan)
        self.metrics.received_bytes.labels(arrival.calling_ae_title).inc(record.data_bytes)
        return STORED

    def _record(self, writer: SpoolWriter, head: InstanceHead, plan: Plan, arrival: Arrival) -> SpoolRecord:
        return SpoolRecord(
            record_id=writer.record_id,
            head=head,
            data_bytes=writer.data_bytes,
            sha256=writer.sha256(),
            received_at=self.clock(),
            arrival=arrival,
            plan=plan,
        )

    def _count(self, plan: Plan) -> None:
        for planned in plan.destinations:
            verdict = planned.decision.verdict
            self.metrics.decisions.labels(verdict.outcome, verdict.reason).inc()


@dataclass(frozen=True, slots=True)
class _Walked:
    """A head, and all that was read so far: the earlier fragments joined in a copy, the last ones still views."""

    head: InstanceHead
    fragments: Fragments


def _walk(transfer_syntax_uid: str, issuer_oid: str, data: Iterator[Fragments]) -> _Walked | Answer:
    """Read as much of the data set as its head needs."""
    walker = HeadWalker(transfer_syntax_uid, WANTED, UNTIL)
    read = bytearray()
    for fragments in data:
        try:
            if any(walker.feed(fragment) for fragment in fragments):
                head = instance_head(walker.elements, transfer_syntax_uid, issuer_oid)
                return _Walked(head, (memoryview(read), *fragments))
        except (MalformedDataSet, LimitExceeded) as error:
            return malformed(str(error))
        for fragment in fragments:
            read += fragment
        if len(read) > HEAD_LIMIT_BYTES:  # the walker bounds what is inflated; a deflated head may never be
            return HEAD_TOO_LONG
    try:
        walker.finish()
        return _Walked(instance_head(walker.elements, transfer_syntax_uid, issuer_oid), (memoryview(read),))
    except (MalformedDataSet, LimitExceeded) as error:
        return malformed(str(error))
