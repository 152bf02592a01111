"""From the spool into the database, in the running node and at its start."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text

from gateway.domain.decision import Outcome
from gateway.domain.instance import InstanceHead
from gateway.domain.transfer import Delivery, DeliveryState, InstanceState, Plan, SpoolRecord, delivery_of
from gateway.errors import ConnectionLost, StoreUnavailable
from gateway.store.database import Database
from gateway.store.decisions import list_decisions
from gateway.store.index import Claim, Claims, index_records, mark_released
from gateway.store.pages import PAGE_BYTES
from gateway.store.queue import claim
from gateway.store.spool import Spool
from gateway.store.tables import DeliveryRow, InstanceRow
from gateway.store.writer import Writer
from gateway.transfer.arrivals import Arrivals, recover
from gateway.transfer.cut_through import Arriving, CutThrough
from gateway.transfer.send import Extent
from tests.build import ARRIVAL, NOON, PACS_A, PACS_B, head, node_database, plan, record, spooled
from tests.store.taken import Taken
from tests.wait import wait_until


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with node_database(tmp_path) as made:
        yield made


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", 0)
    yield opened
    opened.close()


def states(database: Database) -> dict[str, str]:
    with database.read() as session:
        return {row.record_id: row.state for row in session.scalars(select(InstanceRow))}


def delivery_states(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(DeliveryRow.state).order_by(DeliveryRow.due_at)))


@dataclass
class Deliveries:
    """Those who deliver, as far as arrivals know them: what they are told, and what they ask for."""

    database: Database
    claim: Claim = Claim.QUEUE
    begin: bool = False
    notices: list[list[str]] = field(default_factory=list)
    """The states of all deliveries each time there may be something in the queue."""
    handed_over: list[Delivery] = field(default_factory=list)
    offered: list[Delivery] = field(default_factory=list)

    def claims(self) -> Claims:
        return lambda _record, _ae_title: self.claim

    def hand_over(self, deliveries: Sequence[Delivery]) -> None:
        self.handed_over += deliveries

    def offer(self, delivery: Delivery) -> bool:
        self.offered.append(delivery)
        return self.begin

    def notify(self) -> None:
        self.notices.append(delivery_states(self.database))


def arrivals_of(spool: Spool, database: Database, writer: Writer) -> Arrivals:
    """Where nobody is watched: everything is queued."""
    return Arrivals(spool, database, writer, Deliveries(database), CutThrough())


def restarted(spool: Spool, database: Database) -> tuple[Spool, int]:
    """The spool after a crash and the start that follows."""
    directory = spool.path("0" * 32).parent.parent
    spool.close()
    reopened = Spool(directory, 0)
    return reopened, recover(reopened, database)


# --- while the node runs ----------------------------------------------------------------------------------------------


@pytest.fixture
def writer(database: Database) -> Iterator[Writer]:
    started = Writer(database)
    started.start()
    yield started
    started.stop()


def test_record_is_indexed_and_those_who_deliver_are_told(spool: Spool, database: Database, writer: Writer) -> None:
    deliveries = Deliveries(database)
    arrivals = Arrivals(spool, database, writer, deliveries, CutThrough())

    made = spooled(spool, b"data")
    arrivals.enter(made)
    wait_until(lambda: deliveries.notices)

    assert states(database) == {made.record_id: InstanceState.SPOOLED}
    assert deliveries.notices == [[DeliveryState.QUEUED]]  # it was committed when they were told


def test_same_instance_again_needs_no_second_file(spool: Spool, database: Database, writer: Writer) -> None:
    deliveries = Deliveries(database)
    arrivals = Arrivals(spool, database, writer, deliveries, CutThrough())
    first = spooled(spool, b"data")
    second = spooled(spool, b"data", head=first.head)
    arrivals.enter(first)
    arrivals.enter(second)
    wait_until(lambda: list(spool.record_ids()) == [first.record_id])
    assert states(database) == {first.record_id: InstanceState.SPOOLED}


def test_no_record_is_taken_for_one_that_came_again(spool: Spool, database: Database, writer: Writer) -> None:
    """A record that is entered at a bad moment must be indexed once: indexed twice, the second time it looks like an
    instance sent again, and what was removed was the file of the next one."""
    made = [spooled(spool, f"data {n}".encode()) for n in range(4)]
    arrivals = arrivals_of(spool, database, writer)
    more = made[1:]
    arrivals._records._changed = Taken(lambda: arrivals.enter(more.pop(0)) if more else None)
    arrivals.enter(made[0])
    wait_until(lambda: not more)
    writer.stop()

    assert set(spool.record_ids()) == {one.record_id for one in made}
    assert states(database) == {one.record_id: InstanceState.SPOOLED for one in made}


def test_other_content_is_kept_aside(spool: Spool, database: Database, writer: Writer) -> None:
    arrivals = arrivals_of(spool, database, writer)
    first = spooled(spool, b"data")
    other = spooled(spool, b"other", head=first.head)
    arrivals.enter(first)
    arrivals.enter(other)

    wait_until(lambda: len(states(database)) == 2)
    assert states(database)[other.record_id] == InstanceState.QUARANTINED
    assert set(spool.record_ids()) == {first.record_id, other.record_id}


def test_record_that_cannot_be_indexed_spoils_only_itself(spool: Spool, database: Database, writer: Writer) -> None:
    arrivals = arrivals_of(spool, database, writer)
    known = spooled(spool, b"data")
    arrivals.enter(known)
    wait_until(lambda: states(database))
    others = [spooled(spool, b"data") for _ in range(20)]
    doubled = replace(known, head=others[0].head, plan=Plan(()))  # the id of a record that is known already
    for made in (*others[:10], doubled, *others[10:]):
        arrivals.enter(made)

    wait_until(lambda: len(states(database)) == 21)


def test_denials_are_recorded_before_they_are_answered(spool: Spool, database: Database, writer: Writer) -> None:
    denied = plan(denied=(PACS_B,))

    arrivals_of(spool, database, writer).enter_denials(denied)

    with database.read() as session:
        (decision,) = list_decisions(session, limit_count=10)
    assert decision == denied.destinations[0].decision
    assert decision.verdict.outcome is Outcome.DENY


def test_denials_that_cannot_be_recorded(spool: Spool, database: Database) -> None:
    writer = Writer(database)
    writer.start()
    writer.stop()

    with pytest.raises(StoreUnavailable):
        arrivals_of(spool, database, writer).enter_denials(plan(denied=(PACS_B,)))


# --- handed over without the queue ------------------------------------------------------------------------------------


def test_delivery_is_handed_over_when_it_is_in_the_ledger(spool: Spool, database: Database, writer: Writer) -> None:
    deliveries = Deliveries(database, claim=Claim.HAND_OVER)
    arrivals = Arrivals(spool, database, writer, deliveries, CutThrough())
    made = spooled(spool, b"data", plan=plan(PACS_A, PACS_B))
    arrivals.enter(made)
    wait_until(lambda: deliveries.handed_over)

    assert deliveries.handed_over == [delivery_of(made, planned) for planned in made.plan.permitted]
    assert delivery_states(database) == [DeliveryState.ACTIVE] * 2
    assert deliveries.notices == []  # nothing is in the queue


def test_instance_sent_again_passes_through_the_queue(spool: Spool, database: Database, writer: Writer) -> None:
    """Whether its delivery is under way or over is for the ledger to say."""
    deliveries = Deliveries(database, claim=Claim.HAND_OVER)
    arrivals = Arrivals(spool, database, writer, deliveries, CutThrough())
    made = spooled(spool, b"data")
    arrivals.enter(made)
    wait_until(lambda: deliveries.handed_over)
    arrivals.enter(spooled(spool, b"data", head=made.head))
    wait_until(lambda: deliveries.notices)

    assert len(deliveries.handed_over) == 1


def test_what_was_handed_over_is_queued_again_after_a_crash(spool: Spool, database: Database, writer: Writer) -> None:
    deliveries = Deliveries(database, claim=Claim.HAND_OVER)
    Arrivals(spool, database, writer, deliveries, CutThrough()).enter(spooled(spool, b"data"))
    wait_until(lambda: deliveries.handed_over)

    spool, _ = restarted(spool, database)

    assert delivery_states(database) == [DeliveryState.QUEUED]
    spool.close()


# --- while it still arrives -------------------------------------------------------------------------------------------


def begin(arrivals: Arrivals, instance: InstanceHead, *titles: str) -> Arriving | None:
    return arrivals.begin_early("1" * 32, instance, plan(*titles or (PACS_B,), denied=("DENIED",)), ARRIVAL, NOON)


def test_instance_is_offered_to_all_who_may_have_it(spool: Spool, database: Database, writer: Writer) -> None:
    deliveries = Deliveries(database, begin=True)
    arriving = begin(Arrivals(spool, database, writer, deliveries, CutThrough()), head(), PACS_A, PACS_B)

    assert arriving is not None
    assert arriving.taken_by() == {PACS_A, PACS_B}
    assert [each.destination_ae_title for each in deliveries.offered] == [PACS_A, PACS_B]
    assert all(each.is_arriving for each in deliveries.offered)


def test_nobody_takes_it(spool: Spool, database: Database, writer: Writer) -> None:
    cut_through, instance = CutThrough(), head()
    arrivals = Arrivals(spool, database, writer, Deliveries(database), cut_through)

    assert begin(arrivals, instance) is None
    assert begin(arrivals, instance) is None
    assert cut_through.of("1" * 32) is None


def test_what_is_known_is_not_offered(spool: Spool, database: Database, writer: Writer) -> None:
    deliveries = Deliveries(database, begin=True)
    arrivals = Arrivals(spool, database, writer, deliveries, CutThrough())
    known = spooled(spool, b"data")
    arrivals.enter(known)
    wait_until(lambda: states(database))

    assert begin(arrivals, known.head) is None
    assert deliveries.offered == []


def test_database_that_does_not_answer_keeps_no_instance_out(spool: Spool, database: Database, writer: Writer) -> None:
    """It is acknowledged when it is durable, and entered when the database is back; it only does not leave early."""
    deliveries = Deliveries(database, begin=True)
    arrivals = Arrivals(spool, database, writer, deliveries, CutThrough())
    with database.write() as session:
        session.execute(text("ALTER TABLE instance RENAME TO elsewhere"))

    assert begin(arrivals, head()) is None
    assert deliveries.offered == []


def test_destination_that_took_it_gets_no_second_delivery(spool: Spool, database: Database, writer: Writer) -> None:
    deliveries, cut_through = Deliveries(database, Claim.HAND_OVER, begin=True), CutThrough()
    arrivals = Arrivals(spool, database, writer, deliveries, cut_through)
    made = spooled(spool, b"data", plan=plan(PACS_A, PACS_B))
    arriving = arrivals.begin_early(made.record_id, made.head, made.plan, ARRIVAL, NOON)
    assert arriving is not None
    assert arriving.give_back(PACS_A)

    arrivals.enter(made)
    wait_until(lambda: deliveries.handed_over)

    assert [each.destination_ae_title for each in deliveries.handed_over] == [PACS_A]
    assert delivery_states(database) == [DeliveryState.ACTIVE] * 2
    assert arriving.beyond(0) == Extent(4, is_whole=True, sha256=made.sha256)


@pytest.mark.parametrize("data", [b"data", b"other"], ids=["sent again", "quarantined"])
def test_another_was_quicker(spool: Spool, database: Database, writer: Writer, data: bytes) -> None:
    arrivals = Arrivals(spool, database, writer, Deliveries(database, begin=True), CutThrough())
    quicker = spooled(spool, b"data")
    late = spooled(spool, data, head=quicker.head)
    arriving = arrivals.begin_early(late.record_id, late.head, late.plan, ARRIVAL, NOON)
    assert arriving is not None

    arrivals.enter(quicker)
    arrivals.enter(late)

    with pytest.raises(ConnectionLost):
        arriving.beyond(0)


def test_record_that_cannot_be_indexed_does_not_leave(spool: Spool, database: Database, writer: Writer) -> None:
    arrivals = Arrivals(spool, database, writer, Deliveries(database, begin=True), CutThrough())
    bad = spooled(spool, b"data", plan=Plan(plan(PACS_B).destinations * 2))  # breaks a constraint of the tables
    arriving = arrivals.begin_early(bad.record_id, bad.head, plan(PACS_B), ARRIVAL, NOON)
    assert arriving is not None

    arrivals.enter(bad)

    with pytest.raises(ConnectionLost):
        arriving.beyond(0)


def test_sender_that_breaks_off(spool: Spool, database: Database, writer: Writer) -> None:
    arrivals = Arrivals(spool, database, writer, Deliveries(database, begin=True), CutThrough())
    arriving = begin(arrivals, head())
    assert arriving is not None

    arrivals.broke_off("2" * 32)  # another one
    arriving.publish(3 * PAGE_BYTES)
    assert arriving.beyond(0).end == 2 * PAGE_BYTES
    arrivals.broke_off(arriving.record_id)
    with pytest.raises(ConnectionLost):
        arriving.beyond(0)


# --- at the start -----------------------------------------------------------------------------------------------------


def test_records_that_are_not_in_the_database_are_indexed(spool: Spool, database: Database) -> None:
    made = [spooled(spool, b"data") for _ in range(3)]

    spool, count = restarted(spool, database)

    assert count == 3
    assert states(database) == {each.record_id: InstanceState.SPOOLED for each in made}
    assert delivery_states(database) == [DeliveryState.QUEUED] * 3
    assert recover(spool, database) == 0
    spool.close()


def test_database_can_be_made_anew_from_the_spool(spool: Spool, database: Database) -> None:
    first = spooled(spool, b"data")
    other = spooled(spool, b"other", head=first.head)
    again = spooled(spool, b"data", head=first.head)

    spool, count = restarted(spool, database)

    assert count == 3
    kept = states(database)
    assert sorted(kept.values()) in (
        [InstanceState.QUARANTINED, InstanceState.SPOOLED],
        [InstanceState.QUARANTINED, InstanceState.QUARANTINED, InstanceState.SPOOLED],
    )
    assert set(kept) == set(spool.record_ids())
    assert set(kept) <= {first.record_id, other.record_id, again.record_id}
    spool.close()


def test_torn_records_are_removed(spool: Spool, database: Database) -> None:
    whole = spooled(spool, b"data")
    torn = spool.create()
    torn.write([b"half of a data set"])

    spool, count = restarted(spool, database)

    assert count == 1
    assert list(spool.record_ids()) == [whole.record_id]
    assert not spool.path(torn.record_id).exists()
    spool.close()


def damage(spool: Spool, made: SpoolRecord, old: bytes, new: bytes) -> None:
    path = spool.path(made.record_id)
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


@pytest.mark.parametrize(("old", "new"), [(b"the data set", b"tHe data set"), (b'"modality":"CT"', b'"modality":"XX"')])
def test_damaged_records_were_acknowledged_and_are_kept(
    spool: Spool, database: Database, old: bytes, new: bytes
) -> None:
    whole = spooled(spool, b"data")
    damaged = spooled(spool, b"the data set")
    damage(spool, damaged, old, new)

    spool, count = restarted(spool, database)

    assert count == 1
    assert states(database) == {whole.record_id: InstanceState.SPOOLED}
    assert spool.path(damaged.record_id).exists()
    spool.close()


def test_record_of_a_newer_version_is_kept(spool: Spool, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a downgrade: its acknowledged instances must wait for the version that understands them."""
    with monkeypatch.context() as newer:
        newer.setattr("gateway.store.trailer.TRAILER_VERSION", 2)
        made = spooled(spool, b"data")

    spool, count = restarted(spool, database)

    assert count == 0
    assert spool.path(made.record_id).exists()
    spool.close()


def test_record_the_database_refuses_does_not_keep_the_node_from_starting(spool: Spool, database: Database) -> None:
    good = spooled(spool, b"data")
    twice = plan(PACS_B).destinations * 2
    bad = spooled(spool, b"data", plan=Plan(twice))  # breaks a constraint of the tables

    spool, count = restarted(spool, database)

    assert count == 1
    assert states(database) == {good.record_id: InstanceState.SPOOLED}
    assert spool.path(bad.record_id).exists()
    spool.close()


def test_deliveries_under_way_are_queued_again(spool: Spool, database: Database) -> None:
    made = spooled(spool, b"data")
    with database.write() as session:
        index_records(session, [made])
        assert len(claim(session, PACS_B, NOON, 10)) == 1

    spool, _ = restarted(spool, database)

    assert delivery_states(database) == [DeliveryState.QUEUED]
    spool.close()


def test_files_of_released_records_are_removed(spool: Spool, database: Database) -> None:
    """The node ended between the release and the removal."""
    made = spooled(spool, b"data")
    with database.write() as session:
        index_records(session, [made])
        session.execute(delete(DeliveryRow))
        mark_released(session, [made.record_id])

    spool, count = restarted(spool, database)

    assert count == 0
    assert list(spool.record_ids()) == []
    spool.close()


def test_missing_file_is_reported_and_its_row_kept(
    spool: Spool, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    made = record()
    with database.write() as session:
        index_records(session, [made])

    spool, count = restarted(spool, database)

    assert count == 0
    assert states(database) == {made.record_id: InstanceState.SPOOLED}
    assert any("spool_file_missing" in each.getMessage() for each in caplog.records)
    spool.close()


def test_blanks_of_the_last_run_are_removed(tmp_path: Path, database: Database) -> None:
    crashed = Spool(tmp_path / "spool", 0)
    spooled(crashed, b"data")
    blanks = [path for path in (tmp_path / "spool").rglob("?" * 32) if not path.stat().st_size]
    assert blanks

    recover(crashed, database)  # as a new process would, which finds them on the disk

    assert not any(path.exists() for path in blanks)
    crashed.close()
