"""One thread writes the database for the whole process, committing for many callers at once.

SQLite has one writer at a time anyway; a queue in front of it turns N commits with their syncs into one.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Any, Generic, TypeVar

from sqlalchemy.orm import Session

from gateway import log
from gateway.errors import GatewayError, StoreUnavailable
from gateway.store.database import Database

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

BATCH_COUNT = 256
"""Operations per transaction: enough to make the sync cheap, few enough that a caller who waits, waits milliseconds."""

COMMIT_INTERVAL_S = 0.02
"""Least time between two transactions. The first after a pause begins at once; under load this many milliseconds of
work share one, because a transaction costs some 3 ms of processor time however little is in it."""

BACKLOG_COUNT = 4096
"""Operations waiting. When it is full, callers wait: a slow database slows the senders instead of filling memory."""

PATIENCE_S = 30.0
"""How long a caller waits for its transaction; past it the database counts as not answering."""


@dataclass(frozen=True, slots=True)
class _Operation:
    run: Callable[[Session], Any]
    future: Future[Any]


class Writer:
    """Runs operations in order, each in a transaction that it may share with its neighbours."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: queue.Queue[_Operation | None] = queue.Queue(BACKLOG_COUNT)
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._open_until = 0.0
        self._log = log.get(__name__)

    def start(self) -> None:
        self._thread.start()

    def post(self, operation: Callable[[Session], ResultT]) -> Future[ResultT]:
        """Queue an operation. Its future is done after the commit."""
        future: Future[ResultT] = Future()
        self._queue.put(_Operation(operation, future))
        return future

    def write(self, operation: Callable[[Session], ResultT]) -> ResultT:
        """Run an operation and wait until it is committed.

        Raises:
            StoreUnavailable: the database does not answer.
            GatewayError: whatever the operation raised; nothing of it was kept.
        """
        try:
            return self.post(operation).result(PATIENCE_S)
        except TimeoutError as error:
            raise StoreUnavailable("the database does not answer: writing takes too long") from error

    def stop(self) -> None:
        """Finish what is queued, then stop."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        running = True
        while running:
            batch, running = self._next_batch()
            self._open_until = monotonic() + COMMIT_INTERVAL_S
            if batch:
                self._commit(batch)

    def _next_batch(self) -> tuple[list[_Operation], bool]:
        """Operations for one transaction, and whether more may come: whatever waits, or comes before `_open_until`."""
        batch: list[_Operation] = []
        wait_s: float | None = None
        with suppress(queue.Empty):
            while len(batch) < BATCH_COUNT:
                item = self._queue.get(timeout=wait_s)
                if item is None:
                    return batch, False
                batch.append(item)
                wait_s = max(0.0, self._open_until - monotonic())
        return batch, True

    def _commit(self, batch: list[_Operation]) -> None:
        """All together; when that fails, one by one, so that one bad operation spoils only itself."""
        try:
            results = self._together(batch)
        except Exception as error:  # whatever it was belongs to the callers, not to this thread
            if len(batch) == 1:
                if not isinstance(error, GatewayError):
                    self._log.error("write_failed", exc_info=error)
                batch[0].future.set_exception(error)
                return
            for operation in batch:
                self._commit([operation])
            return
        for operation, result in zip(batch, results, strict=True):
            operation.future.set_result(result)

    def _together(self, batch: list[_Operation]) -> list[Any]:
        with self._database.write() as session:
            results = []
            for operation in batch:
                results.append(operation.run(session))
                session.flush()
            return results


class Combiner(Generic[ItemT, ResultT]):
    """Writes many small items with few statements: whatever was added while the writer was busy goes together.

    `write` gets the items in order and returns a result for each; `done` is called on the writer's thread, after the
    commit, with an item and its result, or with the error that kept the item from being written.
    """

    def __init__(
        self,
        writer: Writer,
        write: Callable[[Session, Sequence[ItemT]], Sequence[ResultT]],
        done: Callable[[ItemT, ResultT | Exception], None],
    ) -> None:
        self._writer = writer
        self._write = write
        self._done = done
        self._changed = threading.Condition()
        self._pending: deque[ItemT] = deque()
        self._posted = False

    def add(self, item: ItemT) -> None:
        """Write an item soon. Waits while the database is far behind."""
        with self._changed:
            while len(self._pending) >= BACKLOG_COUNT:
                self._changed.wait()
            self._pending.append(item)
            post, self._posted = not self._posted, True
        if post:
            self._post()

    def _post(self) -> None:
        self._writer.post(self._run).add_done_callback(self._committed)

    def _run(self, session: Session) -> Sequence[ResultT]:
        """Leaves the items where they are until the commit: the writer may have to run this again."""
        with self._changed:
            items = list(islice(self._pending, BATCH_COUNT))
        return self._write(session, items)

    def _committed(self, future: Future[Sequence[ResultT]]) -> None:
        error = future.exception()
        with self._changed:
            count = len(future.result()) if error is None else min(len(self._pending), BATCH_COUNT)
            items = [self._pending.popleft() for _ in range(count)]
            self._posted = bool(self._pending)
            self._changed.notify_all()
        if self._posted:
            self._post()
        results = future.result() if error is None else [error] * count
        for item, result in zip(items, results, strict=True):
            self._done(item, result)  # type: ignore[arg-type]  # BaseException only by the future's signature
