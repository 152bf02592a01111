"""One thread writes the database for the whole process, committing for many callers at once.

SQLite has one writer at a time anyway; a queue in front of it turns N commits with their syncs into one.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
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

COMMIT_INTERVAL_S = 0.05
"""Least time between two transactions. The first after a pause begins at once; under load 50 ms of work share one,
because a transaction costs a millisecond of processor time and a sync, however little is in it."""

BACKLOG_COUNT = 4096
"""Operations waiting. When it is full, callers wait: a slow database slows the senders instead of filling memory."""

PATIENCE_S = 30.0
"""How long a caller waits for its transaction to begin; past it the database counts as not answering."""

RETRY_S = 1.0
"""Until items are tried again that could not be written because the database did not answer."""


@dataclass(frozen=True, slots=True)
class _Operation:
    run: Callable[[Session], Any]
    future: Future[Any]


class Writer:
    """Runs operations in order, each in a transaction that it may share with its neighbours."""

    def __init__(self, database: Database, patience_s: float = PATIENCE_S) -> None:
        self._database = database
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._waiting: deque[_Operation] = deque()
        self._stopping = False
        self._open_until = 0.0
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._log = log.get(__name__)

    def start(self) -> None:
        self._thread.start()

    @property
    def stopping(self) -> bool:
        """Whether nothing is taken any more."""
        return self._stopping

    def post(
        self, operation: Callable[[Session], ResultT], then: Callable[[Future[ResultT]], None] | None = None
    ) -> Future[ResultT]:
        """Queue an operation; waits while the database is far behind. The future is done after the commit.

        `then` is called with it on the writer's thread, or on the caller's if the writer takes nothing any more. (Added
        to the future afterwards, it would run on the caller's thread whenever the writer was quicker.)
        """
        future: Future[ResultT] = Future()
        if then is not None:
            future.add_done_callback(then)
        ours = threading.current_thread() is self._thread  # which must not wait for itself
        with self._changed:
            while len(self._waiting) >= BACKLOG_COUNT and not ours and not self._stopping:
                self._changed.wait()
            refused = self._stopping and not ours
            if not refused:
                self._waiting.append(_Operation(operation, future))
                self._changed.notify_all()
        if refused:
            future.set_exception(StoreUnavailable("the database is written no more: the gateway stops"))
        return future

    def write(self, operation: Callable[[Session], ResultT]) -> ResultT:
        """Run an operation and wait until it is committed.

        Raises:
            StoreUnavailable: the database does not answer; nothing of the operation was kept, nor will be.
            GatewayError: whatever the operation raised; nothing of it was kept.
        """
        future = self.post(operation)
        try:
            return future.result(self._patience_s)
        except TimeoutError as error:
            if future.cancel():
                raise StoreUnavailable("the database does not answer: writing takes too long") from error
        return future.result()  # it has begun, and its caller must know how it ends

    def stop(self) -> None:
        """Finish what is queued, and what that leads to; then stop."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping or self._waiting:
            batch = self._next_batch()
            self._open_until = monotonic() + COMMIT_INTERVAL_S
            if batch:
                self._commit(batch)

    def _next_batch(self) -> list[_Operation]:
        """Operations for one transaction: whatever waits, or comes before `_open_until`."""
        with self._changed:
            while not self._waiting and not self._stopping:
                self._changed.wait()
            while len(self._waiting) < BATCH_COUNT and not self._stopping:
                wait_s = self._open_until - monotonic()
                if wait_s <= 0:
                    break
                self._changed.wait(wait_s)
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_COUNT))]
            self._changed.notify_all()
        return [operation for operation in batch if operation.future.set_running_or_notify_cancel()]

    def _commit(self, batch: list[_Operation]) -> None:
        """All together; when that fails, one by one, so that one bad operation spoils only itself."""
        results: list[Any] = []
        begun = False
        try:
            with self._database.write() as session:
                session.connection()  # a locked database is noticed here, and need not be asked for each operation
                begun = True
                for operation in batch:
                    results.append(operation.run(session))
                    session.flush()
        except Exception as error:  # whatever it was belongs to the callers, not to this thread
            if begun and len(batch) > 1:
                for operation in batch:
                    self._commit([operation])
            else:
                self._fail(batch, error)
            return
        for operation, result in zip(batch, results, strict=True):
            operation.future.set_result(result)

    def _fail(self, batch: list[_Operation], error: Exception) -> None:
        if not isinstance(error, GatewayError):
            self._log.error("write_failed", exc_info=error)
        for operation in batch:
            operation.future.set_exception(error)


class Combiner(Generic[ItemT, ResultT]):
    """Writes many small items with few statements: whatever was added while the writer was busy goes together.

    `write` gets the items in order and returns a result for each; `done` is called on the writer's thread, after the
    commit, with the items and their results: for an item that could not be written, the error. Items are kept while
    the database does not answer; an item that cannot be written spoils only itself.
    """

    def __init__(
        self,
        writer: Writer,
        write: Callable[[Session, Sequence[ItemT]], Sequence[ResultT]],
        done: Callable[[Sequence[ItemT], Sequence[ResultT | Exception]], None],
    ) -> None:
        self._writer = writer
        self._write = write
        self._done = done
        self._changed = threading.Condition()
        self._pending: deque[ItemT] = deque()
        self._posted = False
        self._tried_count = 0
        self._suspect_count = 0
        self._log = log.get(__name__)

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
        self._writer.post(self._run, self._committed)

    def _run(self, session: Session) -> Sequence[ResultT]:
        """Leaves the items where they are until the commit: the writer may have to run this again."""
        with self._changed:
            self._tried_count = min(1 if self._suspect_count else BATCH_COUNT, len(self._pending))
            items = list(islice(self._pending, self._tried_count))
        return self._write(session, items)

    def _committed(self, future: Future[Sequence[ResultT]]) -> None:
        error = future.exception()
        count = self._tried_count
        if isinstance(error, StoreUnavailable):
            if not self._writer.stopping:
                self._postpone(error)
                return
            count = len(self._pending)
        elif error is not None and count > 1:
            self._suspect_count = count  # written one by one, so that the good ones are
            self._post()
            return
        items = self._take(count)
        results = future.result() if error is None else [error] * count
        self._done(items, results)  # type: ignore[arg-type]  # BaseException only by the future's signature

    def _postpone(self, error: StoreUnavailable) -> None:
        self._log.error("write_postponed", error=error)
        retry = threading.Timer(RETRY_S, self._post)
        retry.daemon = True
        retry.start()

    def _take(self, count: int) -> list[ItemT]:
        """Take items that are done with; have the next ones written."""
        with self._changed:
            items = [self._pending.popleft() for _ in range(count)]
            self._suspect_count = max(0, self._suspect_count - count)
            post = self._posted = bool(self._pending)
            self._changed.notify_all()
        if post:  # not `_posted`, which by now may speak of what another thread has added, and posted, since
            self._post()
        return items
