"""One thread writes the database for the whole process, committing for many callers at once.

SQLite has one writer at a time anyway; a queue in front of it turns N commits with their syncs into one.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from gateway import log
from gateway.errors import GatewayError, StoreUnavailable
from gateway.store.database import Database

ResultT = TypeVar("ResultT")

BATCH_COUNT = 256
"""Operations per transaction: enough to make the sync cheap, few enough that a caller who waits, waits milliseconds."""

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
            if batch:
                self._commit(batch)

    def _next_batch(self) -> tuple[list[_Operation], bool]:
        batch: list[_Operation] = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) >= BATCH_COUNT:
                return batch, True
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, True
        return batch, False

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
