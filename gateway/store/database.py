"""The database: one way to read, one way to write, and errors translated at this border.

SQLite runs in WAL mode with synchronous FULL on every connection, so that a committed transaction survives a power
cut; a write takes its lock at the start (BEGIN IMMEDIATE), so that no transaction fails half way for want of it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from gateway.errors import Conflict, InputError, StoreUnavailable

WAL_RETRY_S = 0.01
"""Until a new file is asked again for its mode: about what a switch takes."""

_IMMEDIATE = "gateway_immediate"
_SNAPSHOT = "REPEATABLE READ"
"""PostgreSQL: every statement of a transaction sees what the first one saw. SQLite does so anyway."""


class Database:
    """Sessions on one engine. Safe to use from any thread; every session belongs to one."""

    def __init__(self, url: str, busy_timeout_s: float = 5.0) -> None:
        self.engine = _engine(url, busy_timeout_s)
        self._reading = self.engine if _is_sqlite(url) else self.engine.execution_options(isolation_level=_SNAPSHOT)
        self._writing = self.engine.execution_options(**{_IMMEDIATE: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one consistent state and changes nothing.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        with _translated(), Session(self._reading) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction: committed and durable when the block ends, rolled back when it raises.

        Raises:
            StoreUnavailable: the database does not answer or stayed locked.
            Conflict: a constraint of the tables does not allow the change.
            InputError: a value does not fit its column.
        """
        with _translated(), Session(self._writing) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict(
            "the change contradicts what is registered: something it refers to is missing or in use"
        ) from error
    except DataError as error:
        raise InputError("a value does not fit where the database keeps it: too long, or with a NUL in it") from error
    except PoolTimeoutError as error:
        raise StoreUnavailable("the database does not answer: all connections to it are in use") from error
    except OperationalError as error:
        said = (str(error.orig).strip().splitlines() or ["nothing"])[0]
        raise StoreUnavailable(f"the database does not answer: {said}") from error
    except DBAPIError as error:
        raise StoreUnavailable(
            f"the database does not answer ({type(error.orig).__name__}); check its disk and that nothing locks it"
        ) from error


def _engine(url: str, busy_timeout_s: float) -> Engine:
    if not _is_sqlite(url):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": busy_timeout_s})

    @event.listens_for(engine, "connect")
    def _configure(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None  # transactions begin where we say, see _begin
        _use_wal(dbapi_connection, busy_timeout_s)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get(_IMMEDIATE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _use_wal(connection: sqlite3.Connection, patience_s: float) -> None:
    """Of several that find a new file and change its mode at once, SQLite refuses some without making them wait."""
    give_up_at = monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > give_up_at:
                raise
            sleep(WAL_RETRY_S)


def _is_sqlite(url: str) -> bool:
    return make_url(url).get_backend_name() == "sqlite"
