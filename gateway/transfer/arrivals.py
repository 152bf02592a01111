"""What happens to a record once it is durable: it is indexed, and those who deliver get it.

The spool is the truth: an arrival is acknowledged when its record is durable, and enters the database a moment later.
Whatever a crash keeps from being entered is found in the spool at the next start.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from gateway import log
from gateway.domain.instance import InstanceHead
from gateway.domain.transfer import Arrival, Delivery, Plan, SpoolRecord, delivery_of
from gateway.errors import InputError, SpoolCorrupt, StoreError
from gateway.store.database import Database
from gateway.store.decisions import record_decisions
from gateway.store.index import (
    Claim,
    Claims,
    Entry,
    Indexed,
    index_records,
    is_known,
    known_record_ids,
    spooled_record_ids,
)
from gateway.store.queue import requeue_active
from gateway.store.spool import Spool
from gateway.store.writer import Combiner, Writer
from gateway.transfer.cut_through import Arriving, CutThrough


class Deliveries(Protocol):
    """Those who deliver. Safe to use from any thread."""

    def claims(self) -> Claims:
        """What they take of the records of one transaction."""
        ...

    def hand_over(self, deliveries: Sequence[Delivery]) -> None:
        """Theirs from now on: they are ACTIVE in the ledger."""
        ...

    def offer(self, delivery: Delivery) -> bool:
        """An instance that is still arriving; whether they begin at once."""
        ...

    def notify(self) -> None:
        """Something may be in the queue."""
        ...


class Arrivals:
    """Enters records and denials, and lets large instances leave early. Safe to use from any thread."""

    def __init__(
        self, spool: Spool, database: Database, writer: Writer, deliveries: Deliveries, cut_through: CutThrough
    ) -> None:
        self._spool = spool
        self._database = database
        self._writer = writer
        self._deliveries = deliveries
        self._cut_through = cut_through
        self._records = Combiner(writer, self._index, self._entered)
        self._log = log.get(__name__)

    def enter(self, record: SpoolRecord) -> None:
        """Index a durable record soon. Waits only while the database is far behind."""
        self._records.add(record)

    def enter_denials(self, plan: Plan) -> None:
        """Keep the decisions of a plan that let nothing through; returns when they are durable.

        Raises:
            StoreUnavailable: they are not.
        """
        decisions = [planned.decision for planned in plan.destinations]
        self._writer.write(lambda session: record_decisions(session, decisions))

    def begin_early(
        self, record_id: str, head: InstanceHead, plan: Plan, arrival: Arrival, now: datetime
    ) -> Arriving | None:
        """Offer an instance that is still arriving to those who deliver.

        None when it is one of several under its UID, or nobody is free for it: then it is delivered when it is whole.
        """
        identity = (head.patient.issuer_oid, head.sop_instance_uid)
        if self._may_be_known(identity):
            return None
        record = SpoolRecord(record_id, head, 0, "", now, arrival, plan)
        deliveries = [delivery_of(record, planned, is_arriving=True) for planned in plan.permitted]
        titles = [delivery.destination_ae_title for delivery in deliveries]
        arriving = self._cut_through.begin(record_id, identity, titles)
        if arriving is None:
            return None
        refused = [delivery for delivery in deliveries if not self._deliveries.offer(delivery)]
        for delivery in refused:
            arriving.give_back(delivery.destination_ae_title)
        if len(refused) == len(deliveries):
            self._cut_through.end(record_id)
            return None
        return arriving

    def broke_off(self, record_id: str) -> None:
        """There will be no record of this id: its sender, or the disk, broke off. Harmless where there is one."""
        self._cut_through.end(record_id)

    def _may_be_known(self, identity: tuple[str, str]) -> bool:
        """Whether an instance of this identity has come before, or nobody can say."""
        try:
            with self._database.read() as session:
                return is_known(session, *identity)
        except StoreError as error:
            self._log.warning("cut_through_not_begun", error=error)
            return True

    def _index(self, session: Session, records: Sequence[SpoolRecord]) -> list[Entry]:
        claims = self._deliveries.claims()

        def claim(record: SpoolRecord, ae_title: str) -> Claim:
            arriving = self._cut_through.of(record.record_id)
            if arriving and ae_title in arriving.taken_by():
                return Claim.TAKEN
            return claims(record, ae_title)

        return index_records(session, records, claim)

    def _entered(self, records: Sequence[SpoolRecord], results: Sequence[Entry | Exception]) -> None:
        handed_over: list[Delivery] = []
        queued = False
        for record, result in zip(records, results, strict=True):
            match result:
                case Entry(Indexed.NEW, deliveries):
                    self._cut_through.complete(record)
                    handed_over += deliveries
                    queued = queued or len(deliveries) < len(record.plan.permitted)
                case Entry(Indexed.SENT_AGAIN):
                    self._cut_through.end(record.record_id)
                    queued = True
                    self._remove(record.record_id)
                case Entry(Indexed.QUARANTINED):
                    self._cut_through.end(record.record_id)
                    self._log.warning("instance_quarantined", record_id=record.record_id)
                case Exception() as error:
                    self._cut_through.end(record.record_id)
                    self._log.error("record_not_indexed", record_id=record.record_id, error=error)
        if handed_over:
            self._deliveries.hand_over(handed_over)
        if queued:
            self._deliveries.notify()

    def _remove(self, record_id: str) -> None:
        try:
            self._spool.remove(record_id)
        except StoreError as error:
            self._log.error("record_not_removed", record_id=record_id, error=error)


def recover(spool: Spool, database: Database) -> int:
    """At start, bring the database into line with the spool; returns how many records were missing in it.

    Torn records were never acknowledged and are removed. Records that cannot be read in full, or were written by a
    newer version, are kept and reported.

    Raises:
        StoreError: spool or database cannot be used.
    """
    logger = log.get(__name__)
    spool.remove_blanks()
    with database.write() as session:
        requeue_active(session)
    with database.read() as session:
        known, spooled = known_record_ids(session), spooled_record_ids(session)
    on_disk = set(spool.record_ids())
    for record_id in on_disk & (known - spooled):
        spool.remove(record_id)
    for record_id in sorted(spooled - on_disk):
        logger.error("spool_file_missing", record_id=record_id)
    recovered = 0
    for record_id in sorted(on_disk - known):
        recovered += _recover_record(spool, database, record_id)
    if recovered:
        logger.warning("records_recovered", count=recovered)
    return recovered


def _recover_record(spool: Spool, database: Database, record_id: str) -> int:
    logger = log.get(__name__)
    try:
        with spool.open(record_id) as reader:
            if reader.is_torn():
                logger.warning("torn_record_removed", record_id=record_id)
                spool.remove(record_id)
                return 0
            record = reader.verify()
        with database.write() as session:
            (entry,) = index_records(session, [record])
    except (SpoolCorrupt, InputError) as error:
        logger.error("record_not_indexed", record_id=record_id, error=error)
        return 0
    if entry.indexed is Indexed.SENT_AGAIN:
        spool.remove(record_id)
    return 1
