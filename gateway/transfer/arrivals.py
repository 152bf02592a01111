"""What happens to a record after it is durable: it is indexed, and those who deliver are told.

The spool is the truth: an arrival is acknowledged when its record is durable, and enters the database a moment later.
Whatever a crash keeps from being entered is found in the spool at the next start.
"""

from collections.abc import Callable

from gateway import log
from gateway.domain.transfer import Plan, SpoolRecord
from gateway.errors import InputError, SpoolCorrupt, StoreError
from gateway.store.database import Database
from gateway.store.decisions import record_decisions
from gateway.store.index import Indexed, index_records, known_record_ids, spooled_record_ids
from gateway.store.queue import requeue_active
from gateway.store.spool import Spool
from gateway.store.writer import Combiner, Writer


class Arrivals:
    """Enters records and denials. `notify` is called when new deliveries may be waiting; from any thread."""

    def __init__(self, spool: Spool, writer: Writer, notify: Callable[[], None]) -> None:
        self._spool = spool
        self._writer = writer
        self._notify = notify
        self._records = Combiner(writer, index_records, self._entered)
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

    def _entered(self, record: SpoolRecord, result: Indexed | Exception) -> None:
        match result:
            case Indexed.NEW:
                self._notify()
            case Indexed.SENT_AGAIN:
                self._notify()
                self._remove(record.record_id)
            case Indexed.QUARANTINED:
                self._log.warning("instance_quarantined", record_id=record.record_id)
            case Exception() as error:
                self._log.error("record_not_indexed", record_id=record.record_id, error=error)

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
            (indexed,) = index_records(session, [record])
    except (SpoolCorrupt, InputError) as error:
        logger.error("record_not_indexed", record_id=record_id, error=error)
        return 0
    if indexed is Indexed.SENT_AGAIN:
        spool.remove(record_id)
    return 1
