"""Large instances leave while they arrive, and are complete nowhere before they are safe here."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gateway.consent.forms import FormKind
from gateway.domain.decision import Reason
from gateway.domain.institution import Institution, ParticipationState
from gateway.domain.transfer import DeliveryId, DeliveryState, InstanceState, Route
from gateway.errors import ConnectionLost, DeadlineExceeded
from gateway.store.network import put_ae, put_institution, put_route
from gateway.store.pages import PAGE_BYTES
from gateway.transfer.cut_through import CUT_THROUGH_BYTES, WITHHELD_BYTES, Arriving, CutThrough
from gateway.transfer.send import Extent
from tests.build import HOSPITAL_A, HOSPITAL_B, PACS_B, ae, new_uid, record
from tests.faults.proxy import NO_FAULT, Fault, running_proxy
from tests.transfer.node import SETTINGS, Node, network_with, running_node
from tests.transfer.receiver import Receiver, unused_port
from tests.transfer.upload import INSTANCE_LIMIT_BYTES, Upload, image
from tests.wait import PATIENCE_S, wait_until

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
COMPLETED, BLOCKED = DeliveryState.COMPLETED, DeliveryState.BLOCKED_BY_CONSENT

TITLE = "ONE"
DIGEST = "0" * 64
CHECK_VALUE = "0" * 32
IDENTITY = (HOSPITAL_A, "1.2.3")
MIB = 1 << 20
MOST = CUT_THROUGH_BYTES + 2 * MIB
"""So much has come that the beginning leaves, and a part is still to come of an image of `SIZE_BYTES`."""
SIZE_BYTES = 8 * MIB


# --- one instance -----------------------------------------------------------------------------------------------------


def taken(*titles: str, stall_s: float = PATIENCE_S) -> Arriving:
    arriving = Arriving("0" * 32, stall_s)
    for title in titles or (TITLE,):
        arriving.take(title)
    return arriving


@contextmanager
def meanwhile(call: Callable[[], Any]) -> Iterator[list[Any]]:
    """A call on another thread, which ends before the block does not; what it returned or raised."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield results
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("written_bytes", "end"),
    [
        (2 * PAGE_BYTES, PAGE_BYTES),
        (3 * PAGE_BYTES - 1, PAGE_BYTES),
        (3 * PAGE_BYTES, 2 * PAGE_BYTES),
        (MIB, MIB - WITHHELD_BYTES),
    ],
)
def test_whole_pages_but_the_last_may_leave(written_bytes: int, end: int) -> None:
    arriving = taken()
    arriving.publish(written_bytes)

    assert arriving.beyond(0) == Extent(end, is_whole=False)


@pytest.mark.parametrize("written_bytes", [0, 2, PAGE_BYTES, 2 * PAGE_BYTES - 2])
def test_too_little_is_waited_for(written_bytes: int) -> None:
    arriving = taken()
    arriving.publish(written_bytes)
    with meanwhile(lambda: arriving.beyond(0)) as results:
        arriving.publish(3 * PAGE_BYTES)

    assert results == [Extent(2 * PAGE_BYTES, is_whole=False)]


def test_what_has_left_already_is_nothing_new() -> None:
    arriving = taken()
    arriving.publish(3 * PAGE_BYTES)
    with meanwhile(lambda: arriving.beyond(2 * PAGE_BYTES)) as results:
        arriving.publish(4 * PAGE_BYTES)

    assert results == [Extent(3 * PAGE_BYTES, is_whole=False)]


def test_the_whole_is_known_when_the_ledger_has_it() -> None:
    arriving = taken()
    arriving.publish(3 * PAGE_BYTES)
    with meanwhile(lambda: arriving.beyond(2 * PAGE_BYTES)) as results:
        assert arriving.taken_by() == {TITLE}  # not enough: the transaction may still fail
        arriving.complete(Extent(3 * PAGE_BYTES + 10, True, DIGEST, CHECK_VALUE))

    assert results == [Extent(3 * PAGE_BYTES + 10, True, DIGEST, CHECK_VALUE)]
    assert arriving.beyond(0) == results[0]


def test_instance_that_will_never_be_ends_the_wait() -> None:
    arriving = taken()
    arriving.publish(3 * PAGE_BYTES)
    with meanwhile(lambda: arriving.beyond(2 * PAGE_BYTES)) as results:
        arriving.end()

    assert isinstance(results[0], ConnectionLost)
    with pytest.raises(ConnectionLost):  # not even what could be read before
        arriving.beyond(0)


def test_sender_that_pauses_is_not_waited_for() -> None:
    arriving = taken(stall_s=0.01)
    arriving.publish(3 * PAGE_BYTES)

    with pytest.raises(DeadlineExceeded, match="the sender paused"):
        arriving.beyond(2 * PAGE_BYTES)
    arriving.publish(4 * PAGE_BYTES)
    assert arriving.beyond(2 * PAGE_BYTES).end == 3 * PAGE_BYTES


def test_given_back_before_the_ledger_is_told_somebody_else_delivers() -> None:
    arriving = taken("ONE", "TWO")

    assert arriving.give_back("ONE")
    assert arriving.taken_by() == {"TWO"}


def test_given_back_while_the_ledger_is_told_waits_for_it() -> None:
    """What was said to be taken when the transaction was run must be so when it is run again, one by one."""
    arriving = taken()
    assert arriving.taken_by() == {TITLE}
    with meanwhile(lambda: arriving.give_back(TITLE)) as results:
        assert arriving.taken_by() == {TITLE}
        assert results == []
        arriving.complete(Extent(4, True, DIGEST, CHECK_VALUE))

    assert results == [False]  # the ledger counts on the taker, who has to report


def test_given_back_when_the_ledger_did_not_take_it() -> None:
    arriving = taken()
    arriving.taken_by()
    with meanwhile(lambda: arriving.give_back(TITLE)) as results:
        arriving.end()

    assert results == [True]


def test_over_when_nobody_comes_back_to_it() -> None:
    arriving = taken("ONE", "TWO")
    assert not arriving.is_over
    arriving.complete(Extent(4, True, DIGEST, CHECK_VALUE))
    assert not arriving.is_over
    arriving.finished("ONE")
    assert not arriving.is_over
    arriving.finished("TWO")
    assert arriving.is_over


# --- all of them ------------------------------------------------------------------------------------------------------


def test_same_instance_leaves_early_once_at_a_time() -> None:
    cut_through = CutThrough()
    first = cut_through.begin("1" * 32, IDENTITY, [TITLE])

    assert first is not None
    assert cut_through.begin("2" * 32, IDENTITY, [TITLE]) is None
    assert cut_through.begin("3" * 32, (HOSPITAL_B, "1.2.3"), [TITLE]) is not None  # from elsewhere it is another one
    assert cut_through.of("1" * 32) is first
    assert cut_through.of("2" * 32) is None


def completes(cut_through: CutThrough, delivery_id: DeliveryId) -> None:
    cut_through.complete(record(record_id=delivery_id.record_id))
    cut_through.finished(delivery_id)


def is_finished_first(cut_through: CutThrough, delivery_id: DeliveryId) -> None:
    assert cut_through.give_back(delivery_id)
    cut_through.complete(record(record_id=delivery_id.record_id))


def fails_when_complete(cut_through: CutThrough, delivery_id: DeliveryId) -> None:
    cut_through.complete(record(record_id=delivery_id.record_id))
    assert not cut_through.give_back(delivery_id)
    cut_through.finished(delivery_id)


def breaks_off(cut_through: CutThrough, delivery_id: DeliveryId) -> None:
    cut_through.end(delivery_id.record_id)
    assert cut_through.give_back(delivery_id)


def breaks_off_with_nobody(cut_through: CutThrough, delivery_id: DeliveryId) -> None:
    assert cut_through.give_back(delivery_id)
    cut_through.end(delivery_id.record_id)


@pytest.mark.parametrize("way", [completes, is_finished_first, fails_when_complete, breaks_off, breaks_off_with_nobody])
def test_nothing_is_kept_of_what_is_over(way: Callable[[CutThrough, DeliveryId], None]) -> None:
    cut_through = CutThrough()
    delivery_id = DeliveryId("1" * 32, TITLE)
    cut_through.begin(delivery_id.record_id, IDENTITY, [TITLE])

    way(cut_through, delivery_id)

    assert cut_through.of(delivery_id.record_id) is None
    assert cut_through.begin("2" * 32, IDENTITY, [TITLE]) is not None


def test_others_are_none_of_its_business() -> None:
    cut_through = CutThrough()
    delivery_id = DeliveryId("1" * 32, TITLE)

    cut_through.complete(record())
    cut_through.end(delivery_id.record_id)
    cut_through.finished(delivery_id)
    assert cut_through.give_back(delivery_id)


# --- through a node ---------------------------------------------------------------------------------------------------


@contextmanager
def node_to(folder: Path, *receivers: Receiver, **options: Any) -> Iterator[Node]:
    """A node that delivers to all of these."""
    with ExitStack() as stack:
        for receiver in receivers:
            if not receiver.port:
                stack.enter_context(receiver.listening())
        database = stack.enter_context(network_with(folder, *(receiver.ae for receiver in receivers)))
        yield stack.enter_context(running_node(folder, database, **options))


def begun(node: Node, receiver: Receiver, size_bytes: int = SIZE_BYTES, **image_of: Any) -> Upload:
    """An upload of which the destination has the beginning."""
    uid = image_of.pop("uid", None) or new_uid()
    upload = Upload(node, image(uid, size_bytes, **image_of), uid)
    before_bytes = receiver.received_bytes
    upload.send(MOST)
    wait_until(lambda: receiver.received_bytes - before_bytes > CUT_THROUGH_BYTES)
    return upload


def nothing_is_kept(node: Node) -> bool:
    """Nothing of an instance that did not finish, anywhere."""
    return not (list(node.spool.record_ids()) or node.instance_states() or node.cut_through._arriving)


def test_large_instance_leaves_while_it_arrives(tmp_path: Path) -> None:
    receiver = Receiver()
    with node_to(tmp_path, receiver) as node:
        upload = begun(node, receiver)
        assert receiver.uids == []
        assert node.deliveries() == []

        assert upload.finish() == SUCCESS
        node.wait_until_all(COMPLETED, 1)
        (row,) = node.deliveries()
        wait_until(lambda: not node.cut_through._arriving)

    assert [data for _, data in receiver.received] == [upload.data]
    assert (row.attempts, row.status, row.detail) == (1, 0, "")
    assert row.sent_sha256 == sha256(upload.data).hexdigest()
    assert len(receiver.associations) == 1


def test_small_instance_does_not(tmp_path: Path) -> None:
    receiver = Receiver()
    with node_to(tmp_path, receiver) as node:
        uid = new_uid()
        upload = Upload(node, image(uid, CUT_THROUGH_BYTES - MIB), uid)
        upload.send(CUT_THROUGH_BYTES - 2 * MIB)

        assert upload.finish() == SUCCESS
        node.wait_until_all(COMPLETED, 1)

    assert [data for _, data in receiver.received] == [upload.data]


def test_not_complete_anywhere_before_the_ledger_has_it(tmp_path: Path) -> None:
    receiver = Receiver()
    with node_to(tmp_path, receiver) as node:
        upload = begun(node, receiver)
        with node.database.write() as session:
            session.connection()  # nobody else writes
            assert upload.finish() == SUCCESS
            wait_until(lambda: receiver.received_bytes > SIZE_BYTES - MIB)
            assert receiver.received == []
            assert node.deliveries() == []
        node.wait_until_all(COMPLETED, 1)

    assert [data for _, data in receiver.received] == [upload.data]


def test_sender_that_breaks_off_leaves_nothing_anywhere(tmp_path: Path) -> None:
    receiver = Receiver()
    with node_to(tmp_path, receiver) as node:
        upload = begun(node, receiver)

        upload.break_off()

        wait_until(lambda: receiver.aborted_count == 1)
        wait_until(lambda: nothing_is_kept(node))
        assert node.deliveries() == []
        again = Upload(node, upload.data, upload.uid)
        assert again.finish() == SUCCESS
        node.wait_until_all(COMPLETED, 1)

    assert receiver.received == [(upload.uid, upload.data)]


@pytest.mark.parametrize(
    ("size_bytes", "status"),
    [(INSTANCE_LIMIT_BYTES + MIB, OUT_OF_RESOURCES), (SIZE_BYTES + 1, CANNOT_UNDERSTAND)],
    ids=["too large", "odd"],
)
def test_instance_that_turns_out_unacceptable_leaves_nothing_anywhere(
    tmp_path: Path, size_bytes: int, status: int
) -> None:
    receiver = Receiver()
    with node_to(tmp_path, receiver) as node:
        upload = begun(node, receiver, size_bytes, filler=b"\x01")

        assert upload.finish() == status

        wait_until(lambda: receiver.aborted_count == 1)
        wait_until(lambda: nothing_is_kept(node))
    assert receiver.received == []


def test_other_content_under_a_known_uid_never_begins_to_leave(tmp_path: Path) -> None:
    receiver = Receiver()
    with node_to(tmp_path, receiver) as node:
        known = node.arrive()
        node.wait_for(known, COMPLETED)
        before_bytes = receiver.received_bytes
        uid = known.head.sop_instance_uid

        assert Upload(node, image(uid, SIZE_BYTES), uid).finish() == SUCCESS

        wait_until(
            lambda: sorted(node.instance_states().values()) == [InstanceState.QUARANTINED, InstanceState.SPOOLED]
        )
        assert len(node.deliveries()) == 1
        assert receiver.received_bytes - before_bytes < CUT_THROUGH_BYTES  # the end of an association, at most
    assert receiver.uids == [uid]


@pytest.mark.parametrize("filler", [b"\x01\x02", b"\x03\x04"], ids=["same content", "other content"])
@pytest.mark.parametrize("early_first", [True, False], ids=["early one first", "early one last"])
def test_two_at_once_under_one_uid(tmp_path: Path, filler: bytes, early_first: bool) -> None:
    """The one that began to leave and one that did not; whichever is whole first is the instance."""
    receiver = Receiver()
    with node_to(tmp_path, receiver) as node:
        early = begun(node, receiver)
        late_data = early.data.replace(b"\x01\x02" * (SIZE_BYTES // 2), filler * (SIZE_BYTES // 2))
        late = Upload(node, late_data, early.uid)
        late.send(MOST)
        first, second = (early, late) if early_first else (late, early)

        assert first.finish() == SUCCESS
        wait_until(node.instance_states)
        assert second.finish() == SUCCESS
        wait_until(lambda: not node.cut_through._arriving)
        if early.data != late.data:
            wait_until(lambda: InstanceState.QUARANTINED in node.instance_states().values())
        node.wait_until_all(COMPLETED, 1)
        wait_until(lambda: receiver.aborted_count == (0 if early_first else 1))

    assert {data for _, data in receiver.received} == {first.data}


def test_withdrawal_breaks_it_off(tmp_path: Path) -> None:
    receiver = Receiver()
    with node_to(tmp_path, receiver) as node:
        upload = begun(node, receiver)

        node.consent(FormKind.ENTIRE_WITHDRAWAL)

        wait_until(lambda: receiver.aborted_count == 1)
        sent_bytes = receiver.received_bytes
        assert upload.finish() == SUCCESS  # it was permitted when it came
        node.wait_until_all(BLOCKED, 1)
        (row,) = node.deliveries()
        wait_until(lambda: not node.cut_through._arriving)

    assert (row.attempts, row.detail) == (0, Reason.WITHDRAWN)
    assert receiver.received == []
    assert receiver.received_bytes - sent_bytes < MIB  # the goodbye of an association, not the rest of the instance


def test_withdrawal_after_all_of_it_left_is_told(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.go_on.clear()
    with node_to(tmp_path, receiver) as node:
        upload = begun(node, receiver)
        assert upload.finish() == SUCCESS
        wait_until(lambda: receiver.storing_count)

        node.consent(FormKind.ENTIRE_WITHDRAWAL)

        node.wait_until_all(BLOCKED, 1)
        (row,) = node.deliveries()

    assert row.attempts == 1
    assert row.detail.endswith("the destination may have it")


def test_destination_that_breaks_off_gets_it_again_whole(tmp_path: Path) -> None:
    uid = new_uid()
    with (
        Receiver().listening() as behind,
        running_proxy(behind.port) as proxy,
        network_with(tmp_path, ae(PACS_B, HOSPITAL_B, proxy.port)) as database,
        running_node(tmp_path, database) as node,
    ):
        proxy.fault = Fault(resets_after_bytes=2 * MIB)
        upload = Upload(node, image(uid, SIZE_BYTES), uid)
        upload.send(MOST)
        wait_until(lambda: behind.aborted_count == 1)
        wait_until(lambda: not node.active._sends)
        proxy.fault = NO_FAULT

        assert upload.finish() == SUCCESS
        node.wait_until_all(COMPLETED, 1)
        (row,) = node.deliveries()

    assert row.attempts == 1  # the early one was no fault of the instance, and is not counted
    assert behind.received == [(uid, upload.data)]


def test_destination_that_is_down_gets_it_when_it_is_back(tmp_path: Path) -> None:
    receiver = Receiver(port=unused_port())
    uid = new_uid()
    with node_to(tmp_path, receiver) as node:
        upload = Upload(node, image(uid, SIZE_BYTES), uid)
        upload.send(MOST)
        wait_until(lambda: node.service._pool(PACS_B)._failures)

        assert upload.finish() == SUCCESS
        wait_until(node.deliveries)
        wait_until(lambda: not node.cut_through._arriving)
        with receiver.listening():
            node.wait_until_all(COMPLETED, 1)
            (row,) = node.deliveries()

    assert row.attempts == 1
    assert receiver.received == [(uid, upload.data)]


def test_refusal_of_the_whole_is_an_attempt_like_any_other(tmp_path: Path) -> None:
    receiver = Receiver(answer=lambda _uid, times: OUT_OF_RESOURCES if times == 1 else SUCCESS)
    with node_to(tmp_path, receiver) as node:
        upload = begun(node, receiver)

        assert upload.finish() == SUCCESS
        node.wait_until_all(COMPLETED, 1)
        (row,) = node.deliveries()
        wait_until(lambda: not node.cut_through._arriving)

    assert row.attempts == 2
    assert [data for _, data in receiver.received] == [upload.data] * 2


def test_slow_destination_does_not_hold_the_sender(tmp_path: Path) -> None:
    receiver = Receiver()
    uid = new_uid()
    with node_to(tmp_path, receiver) as node:
        node.wait_for(node.arrive(), COMPLETED)
        receiver.read_on.clear()
        upload = Upload(node, image(uid, SIZE_BYTES), uid)

        assert upload.finish() == SUCCESS
        wait_until(lambda: len(node.deliveries()) == 2)
        assert len(receiver.received) == 1
        receiver.read_on.set()
        node.wait_until_all(COMPLETED, 2)
        assert {row.attempts for row in node.deliveries()} == {1}

    assert receiver.received[1:] == [(uid, upload.data)]


def test_sender_that_pauses_does_not_hold_the_destination(tmp_path: Path) -> None:
    receiver = Receiver()
    with node_to(tmp_path, receiver, stall_s=0.05) as node:
        uid = new_uid()
        upload = Upload(node, image(uid, SIZE_BYTES), uid)
        upload.send(MOST)
        wait_until(lambda: receiver.aborted_count == 1)
        assert not receiver.received

        assert upload.finish() == SUCCESS
        node.wait_until_all(COMPLETED, 1)
        (row,) = node.deliveries()

    assert row.attempts == 1
    assert receiver.received == [(uid, upload.data)]


def test_destination_that_is_busy_gets_it_later(tmp_path: Path) -> None:
    free, busy = Receiver("FREE"), Receiver("BUSY")
    with node_to(tmp_path, free, busy, settings=replace(SETTINGS, association_count=1)) as node:
        busy.go_on.clear()
        node.arrive()
        wait_until(lambda: len(free.received) == 1 and busy.storing_count == 1)
        wait_until(lambda: not node.service._pool("FREE")._workers)

        upload = begun(node, free)
        assert upload.finish() == SUCCESS
        wait_until(lambda: len(free.received) == 2)
        assert busy.received == []
        busy.go_on.set()
        node.wait_until_all(COMPLETED, 4)

    assert free.received[1] == busy.received[1] == (upload.uid, upload.data)
    assert len(free.received) == len(busy.received) == 2


def test_destination_that_may_not_have_it_never_hears_of_it(tmp_path: Path) -> None:
    other_hospital = "1.2.410.100110.10.33333333"
    with (
        Receiver("MAY").listening() as may,
        Receiver("MAY_NOT").listening() as may_not,
        network_with(tmp_path, may.ae) as database,
    ):
        with database.write() as session:
            put_institution(session, Institution(other_hospital, "Hospital C", ParticipationState.SUSPENDED))
            session.flush()
            put_ae(session, ae("MAY_NOT", other_hospital, may_not.port))
            put_route(session, Route("to MAY_NOT", "MAY_NOT"))
        with running_node(tmp_path, database) as node:
            upload = begun(node, may)
            assert upload.finish() == SUCCESS
            node.wait_until_all(COMPLETED, 1)

    assert may.received == [(upload.uid, upload.data)]
    assert (may_not.associations, may_not.received_bytes) == ([], 0)


def test_what_was_leaving_when_the_node_stopped_is_delivered_after_it(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.go_on.clear()
    with receiver.listening(), network_with(tmp_path, receiver.ae) as database:
        with running_node(tmp_path, database) as node:
            upload = begun(node, receiver)
            assert upload.finish() == SUCCESS
            wait_until(lambda: receiver.storing_count == 1)
            node.stop(0.05)
            assert node.states() == {DeliveryState.QUEUED}
        receiver.go_on.set()
        with running_node(tmp_path, database, consented=False) as node:
            node.wait_until_all(COMPLETED, 1)

    assert {data for _, data in receiver.received} == {upload.data}
