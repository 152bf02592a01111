"""One thread that writes: batches, order, and bad operations that spoil only themselves."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, select
from sqlalchemy.orm import Session

from gateway.errors import Conflict, NotFound, StoreUnavailable
from gateway.store import writer as writer_module
from gateway.store.database import Database
from gateway.store.tables import PersonRow
from gateway.store.writer import BACKLOG_COUNT, BATCH_COUNT, Combiner, Writer
from tests.store.taken import Taken
from tests.wait import wait_until


@pytest.fixture
def writer(sqlite: Database) -> Iterator[Writer]:
    started = Writer(sqlite)
    started.start()
    yield started
    started.stop()


def add(session: Session, name: str) -> str:
    session.execute(insert(PersonRow), [{"id": name}])
    return name


def adding(name: str) -> Callable[[Session], str]:
    return lambda session: add(session, name)


def names(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(PersonRow.id).order_by(PersonRow.id)))


@contextmanager
def held(writer: Writer) -> Iterator[None]:
    """The writer is busy with an operation until the block ends."""
    busy, go_on = threading.Event(), threading.Event()

    def wait(_: Session) -> None:
        busy.set()
        assert go_on.wait(30)

    writer.post(wait)
    assert busy.wait(30)
    try:
        yield
    finally:
        go_on.set()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Another process writes to the database for as long as the block takes."""
    with closing(sqlite3.connect(folder / "gateway.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


class Commits:
    """Counts the transactions of a database."""

    def __init__(self, database: Database) -> None:
        self.count = 0
        event.listen(database.engine, "commit", self._committed)

    def _committed(self, _: object) -> None:
        self.count += 1


# --- operations -------------------------------------------------------------------------------------------------------


def test_write_returns_when_it_is_committed(writer: Writer, sqlite: Database) -> None:
    assert writer.write(adding("a")) == "a"
    assert names(sqlite) == ["a"]


def test_operations_run_in_order(writer: Writer) -> None:
    seen: list[int] = []

    def noting(number: int) -> Callable[[Session], None]:
        return lambda _: seen.append(number)

    with held(writer):
        futures = [writer.post(noting(number)) for number in range(1000)]
    for future in futures:
        future.result(30)

    assert seen == list(range(1000))


def test_many_operations_share_few_transactions(writer: Writer, sqlite: Database) -> None:
    commits = Commits(sqlite)
    with held(writer):
        futures = [writer.post(adding(f"{n:04}")) for n in range(2 * BATCH_COUNT)]
    for future in futures:
        future.result(30)

    assert len(names(sqlite)) == 2 * BATCH_COUNT
    assert commits.count <= 4


def test_bad_operation_spoils_only_itself(writer: Writer, sqlite: Database) -> None:
    def fail(session: Session) -> None:
        add(session, "half")
        raise NotFound("nobody")

    def has_a_bug(_: Session) -> None:
        raise IndexError

    with held(writer):
        before = writer.post(adding("before"))
        bad = writer.post(fail)
        twice = [writer.post(adding("twice")) for _ in range(2)]
        bug = writer.post(has_a_bug)
        after = writer.post(adding("after"))

    assert before.result(30) == "before"
    assert after.result(30) == "after"
    with pytest.raises(NotFound):
        bad.result(30)
    with pytest.raises(IndexError):
        bug.result(30)
    assert twice[0].result(30) == "twice"
    with pytest.raises(Conflict):
        twice[1].result(30)
    assert names(sqlite) == ["after", "before", "twice"]


def test_write_raises_what_the_operation_raised(writer: Writer) -> None:
    def fail(_: Session) -> None:
        raise Conflict("no")

    with pytest.raises(Conflict, match="no"):
        writer.write(fail)


def test_stop_finishes_what_is_queued(sqlite: Database) -> None:
    writer = Writer(sqlite)
    writer.start()
    with held(writer):
        futures = [writer.post(adding(f"{n:04}")) for n in range(3 * BATCH_COUNT)]
        stopper = threading.Thread(target=writer.stop)
        stopper.start()
    stopper.join(30)

    assert all(future.done() for future in futures)
    assert len(names(sqlite)) == 3 * BATCH_COUNT


def test_nothing_is_taken_after_the_stop(sqlite: Database) -> None:
    writer = Writer(sqlite)
    writer.start()
    writer.stop()

    with pytest.raises(StoreUnavailable, match="stops"):
        writer.write(adding("late"))
    assert names(sqlite) == []


def test_full_backlog_makes_callers_wait(writer: Writer) -> None:
    posted = threading.Event()

    def one_more() -> None:
        writer.post(lambda _: None)
        posted.set()

    with held(writer):
        for _ in range(BACKLOG_COUNT):
            writer.post(lambda _: None)
        thread = threading.Thread(target=one_more)
        thread.start()
        assert not posted.wait(0.1)
    assert posted.wait(30)
    thread.join()


def test_caller_that_gave_up_waiting_leaves_nothing_behind(sqlite: Database) -> None:
    """What it asked for must not happen behind its back: a claim nobody knows of would never be delivered."""
    writer = Writer(sqlite, patience_s=0.05)
    writer.start()
    with held(writer), pytest.raises(StoreUnavailable, match="too long"):
        writer.write(adding("given up"))
    writer.post(adding("next")).result(30)

    assert names(sqlite) == ["next"]
    writer.stop()


def test_caller_learns_how_an_operation_ended_that_had_begun(sqlite: Database) -> None:
    writer = Writer(sqlite, patience_s=0.05)
    writer.start()
    begun, go_on = threading.Event(), threading.Event()

    def slow(session: Session) -> str:
        begun.set()
        assert go_on.wait(30)
        return add(session, "slow")

    results: list[str] = []
    caller = threading.Thread(target=lambda: results.append(writer.write(slow)))
    caller.start()
    assert begun.wait(30)
    caller.join(0.1)  # longer than its patience
    go_on.set()
    caller.join(30)

    assert results == names(sqlite) == ["slow"]
    writer.stop()


def test_locked_database_fails_the_whole_batch_at_once(sqlite: Database, tmp_path: Path) -> None:
    """Waiting for the lock once more for each operation would take minutes."""
    impatient = Database(f"sqlite:///{tmp_path / 'gateway.db'}", busy_timeout_s=0.2)
    begins: list[str] = []
    event.listen(impatient.engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: begins.append(statement))
    writer = Writer(impatient)
    with locked(tmp_path):
        futures = [writer.post(adding(f"{n}")) for n in range(50)]
        writer.start()
        for future in futures:
            with pytest.raises(StoreUnavailable):
                future.result(5)
    assert begins.count("BEGIN IMMEDIATE") == 1
    assert writer.write(adding("later")) == "later"
    writer.stop()
    impatient.close()


# --- items ------------------------------------------------------------------------------------------------------------


class Ledger:
    """Where finished items are noted; `written` and `finished` are how many went together."""

    def __init__(self) -> None:
        self.results: list[tuple[str, object]] = []
        self.written: list[int] = []
        self.finished: list[int] = []

    def write(self, session: Session, items: Sequence[str]) -> list[str]:
        self.written.append(len(items))
        for item in items:
            if item.startswith("bad"):
                raise NotFound(item)
            add(session, item)
        return [f"<{item}>" for item in items]

    def done(self, items: Sequence[str], results: Sequence[str | Exception]) -> None:
        self.finished.append(len(items))
        for item, result in zip(items, results, strict=True):
            self.results.append((item, type(result).__name__ if isinstance(result, Exception) else result))


def test_items_are_written_in_order_with_their_results(writer: Writer, sqlite: Database) -> None:
    ledger = Ledger()
    combiner = Combiner(writer, ledger.write, ledger.done)
    items = [f"{n:04}" for n in range(3 * BATCH_COUNT)]
    for item in items:
        combiner.add(item)
    wait_until(lambda: len(ledger.results) == len(items))

    assert ledger.results == [(item, f"<{item}>") for item in items]
    assert names(sqlite) == items


def test_items_added_meanwhile_go_together(writer: Writer) -> None:
    ledger = Ledger()
    combiner = Combiner(writer, ledger.write, ledger.done)
    with held(writer):
        for n in range(BATCH_COUNT + 10):
            combiner.add(f"{n:04}")
    wait_until(lambda: len(ledger.results) == BATCH_COUNT + 10)

    assert ledger.written == ledger.finished == [BATCH_COUNT, 10]


def test_bad_item_spoils_only_itself(writer: Writer, sqlite: Database) -> None:
    ledger = Ledger()
    combiner = Combiner(writer, ledger.write, ledger.done)
    items = ["a", "bad 1", "b", "c", "bad 2"]
    with held(writer):
        for item in items:
            combiner.add(item)
    wait_until(lambda: len(ledger.results) == len(items))

    assert ledger.results == [
        ("a", "<a>"), ("bad 1", "NotFound"), ("b", "<b>"), ("c", "<c>"), ("bad 2", "NotFound")
    ]  # fmt: skip
    assert names(sqlite) == ["a", "b", "c"]


def test_item_that_conflicts_spoils_only_itself(writer: Writer, sqlite: Database) -> None:
    ledger = Ledger()
    combiner = Combiner(writer, ledger.write, ledger.done)
    with held(writer):
        for item in ("a", "a", "b"):
            combiner.add(item)
    wait_until(lambda: len(ledger.results) == 3)

    assert ledger.results == [("a", "<a>"), ("a", "Conflict"), ("b", "<b>")]


def test_items_added_while_others_fail_are_not_taken_for_failed(writer: Writer, sqlite: Database) -> None:
    ledger = Ledger()
    combiner = Combiner(writer, ledger.write, ledger.done)
    added = threading.Event()

    def write(session: Session, items: Sequence[str]) -> list[str]:
        if "bad" in items and not added.is_set():
            added.set()
            for n in range(20):
                combiner.add(f"{n:02}")
        return ledger.write(session, items)

    combiner = Combiner(writer, write, ledger.done)
    combiner.add("bad")
    wait_until(lambda: len(ledger.results) == 21)

    assert ledger.results[0] == ("bad", "NotFound")
    assert names(sqlite) == [f"{n:02}" for n in range(20)]


def test_items_go_well_again_after_a_bad_one(writer: Writer, sqlite: Database) -> None:
    ledger = Ledger()
    combiner = Combiner(writer, ledger.write, ledger.done)
    with held(writer):
        for item in ("bad", "a"):
            combiner.add(item)
    wait_until(lambda: len(ledger.results) == 2)
    with held(writer):
        for n in range(10):
            combiner.add(f"{n}")
    wait_until(lambda: len(ledger.results) == 12)

    assert ledger.written[-1] == ledger.finished[-1] == 10


def test_stop_writes_all_items(sqlite: Database) -> None:
    writer = Writer(sqlite)
    writer.start()
    ledger = Ledger()
    combiner = Combiner(writer, ledger.write, ledger.done)
    with held(writer):
        for n in range(3 * BATCH_COUNT):
            combiner.add(f"{n:04}")
        stopper = threading.Thread(target=writer.stop)
        stopper.start()
    stopper.join(30)

    assert len(ledger.results) == len(names(sqlite)) == 3 * BATCH_COUNT


def test_item_added_after_the_stop_is_reported(sqlite: Database) -> None:
    writer = Writer(sqlite)
    writer.start()
    writer.stop()
    ledger = Ledger()
    combiner = Combiner(writer, ledger.write, ledger.done)
    combiner.add("late")
    combiner.add("later")

    assert ledger.results == [("late", "StoreUnavailable"), ("later", "StoreUnavailable")]


def test_item_added_just_when_the_last_one_was_taken_is_written_once(writer: Writer) -> None:
    """Posted by the thread that adds and by the one that takes, it was written twice, and the next one never."""
    ledger = Ledger()
    written: list[str] = []

    def write(_: Session, items: Sequence[str]) -> list[str]:
        written.extend(items)
        return [f"<{item}>" for item in items]

    combiner = Combiner(writer, write, ledger.done)
    more = ["2", "3", "4"]
    combiner._changed = Taken(lambda: combiner.add(more.pop(0)) if more else None)
    combiner.add("1")
    wait_until(lambda: len(ledger.results) >= 4)

    assert written == ["1", "2", "3", "4"]
    assert ledger.results == [("1", "<1>"), ("2", "<2>"), ("3", "<3>"), ("4", "<4>")]


def test_done_is_called_on_the_writers_thread_even_if_the_writer_is_quicker(sqlite: Database) -> None:
    class Quick(Writer):
        def post(self, *args: Any) -> Future[Any]:
            future = super().post(*args)
            future.result(30)
            return future

    threads: list[str] = []
    writer = Quick(sqlite)
    writer.start()
    combiner = Combiner(writer, lambda _, items: items, lambda *_: threads.append(threading.current_thread().name))
    combiner.add("1")
    wait_until(lambda: len(threads) == 1)
    writer.stop()

    assert threads == ["writer"]


def test_full_backlog_of_items_makes_callers_wait(writer: Writer, sqlite: Database) -> None:
    ledger = Ledger()
    combiner = Combiner(writer, ledger.write, ledger.done)
    added = threading.Event()

    def one_more() -> None:
        combiner.add("one more")
        added.set()

    with held(writer):
        for n in range(BACKLOG_COUNT):
            combiner.add(f"{n:05}")
        thread = threading.Thread(target=one_more)
        thread.start()
        assert not added.wait(0.1)
    assert added.wait(30)
    thread.join()
    wait_until(lambda: len(ledger.results) == BACKLOG_COUNT + 1)


def test_combiner_goes_on_while_the_backlog_of_operations_is_full(writer: Writer) -> None:
    """It queues its next batch on the writer's own thread, which must not wait for itself."""
    ledger = Ledger()
    combiner = Combiner(writer, ledger.write, ledger.done)
    with held(writer):
        for n in range(2 * BATCH_COUNT):
            combiner.add(f"{n:04}")
        fillers = [threading.Thread(target=writer.post, args=(lambda _: None,)) for _ in range(2 * BATCH_COUNT)]
        for _ in range(BACKLOG_COUNT - 1):
            writer.post(lambda _: None)
        for filler in fillers:
            filler.start()
    wait_until(lambda: len(ledger.results) == 2 * BATCH_COUNT, 30)
    for filler in fillers:
        filler.join(30)


def test_items_wait_for_a_database_that_does_not_answer(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcomes and arrivals are not forgotten because a backup held the lock for a while."""
    monkeypatch.setattr(writer_module, "RETRY_S", 0.02)
    impatient = Database(f"sqlite:///{tmp_path / 'gateway.db'}", busy_timeout_s=0.02)
    refused = threading.Event()
    event.listen(impatient.engine, "handle_error", lambda _: refused.set())
    writer = Writer(impatient)
    ledger = Ledger()
    combiner = Combiner(writer, ledger.write, ledger.done)
    with locked(tmp_path):
        writer.start()
        for n in range(10):
            combiner.add(f"{n}")
        assert refused.wait(30)
        assert ledger.results == []
    wait_until(lambda: len(ledger.results) == 10)

    assert len(names(sqlite)) == 10
    writer.stop()
    impatient.close()


def test_stop_does_not_wait_for_a_database_that_does_not_answer(sqlite: Database, tmp_path: Path) -> None:
    impatient = Database(f"sqlite:///{tmp_path / 'gateway.db'}", busy_timeout_s=0.02)
    writer = Writer(impatient)
    ledger = Ledger()
    combiner = Combiner(writer, ledger.write, ledger.done)
    with locked(tmp_path):
        for n in range(2 * BATCH_COUNT):
            combiner.add(f"{n}")
        writer.start()
        writer.stop()

    assert {result for _, result in ledger.results} <= {"StoreUnavailable"}
    assert names(sqlite) == []
    impatient.close()
