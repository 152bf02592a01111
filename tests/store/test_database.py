"""Sessions: what every connection is told, and errors at the border."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text

from gateway.domain.institution import Institution
from gateway.errors import Conflict, InputError, StoreUnavailable
from gateway.store.database import Database
from gateway.store.network import put_institution, read_network
from gateway.store.tables import InstitutionRow, PersonIdentifierRow
from tests.build import HOSPITAL_A, node_database
from tests.store.postgresql import Server

HOSPITAL = Institution(HOSPITAL_A, "A")


def names(database: Database) -> set[str]:
    with database.read() as session:
        return {institution.name for institution in read_network(session).institutions.values()}


@pytest.fixture
def locked(sqlite: Database, tmp_path: Path) -> Iterator[Database]:
    """A database with little patience that another process is writing to."""
    sqlite.close()
    impatient = Database(f"sqlite:///{tmp_path / 'gateway.db'}", busy_timeout_s=0.05)
    with closing(sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield impatient
    impatient.close()


def test_every_connection_is_told_to_be_durable(sqlite: Database) -> None:
    with sqlite.read() as one, sqlite.read() as two, sqlite.read() as three:
        for session in (one, two, three):
            assert session.scalar(text("PRAGMA journal_mode")) == "wal"
            assert session.scalar(text("PRAGMA synchronous")) == 2  # FULL
            assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_connections_of_other_threads_are_told_too(sqlite: Database) -> None:
    found: list[object] = []

    def ask() -> None:
        with sqlite.write() as session:
            found.extend(session.scalar(text(f"PRAGMA {name}")) for name in ("synchronous", "foreign_keys"))

    thread = threading.Thread(target=ask)
    with sqlite.read():
        thread.start()
        thread.join()

    assert found == [2, 1]


def test_new_file_is_opened_by_several_at_once(tmp_path: Path) -> None:
    """Each wants to change its mode, which SQLite does not make them wait for."""
    start = threading.Barrier(4)
    failed: list[Exception] = []

    def open_it(file: Path) -> None:
        database = Database(f"sqlite:///{file}")
        start.wait()
        try:
            with database.read() as session:
                session.connection()
        except StoreUnavailable as error:
            failed.append(error)
        database.close()

    for number in range(20):
        threads = [threading.Thread(target=open_it, args=(tmp_path / f"{number}.db",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert failed == []


def test_write_is_committed_when_the_block_ends(database: Database) -> None:
    with database.write() as session:
        put_institution(session, HOSPITAL)

    assert names(database) == {"A"}


def test_write_is_rolled_back_when_the_block_raises(database: Database) -> None:
    def fail_half_way() -> None:
        with database.write() as session:
            put_institution(session, HOSPITAL)
            session.flush()
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()

    assert names(database) == set()


def test_read_changes_nothing(database: Database) -> None:
    with database.read() as session:
        put_institution(session, HOSPITAL)
        session.flush()

    assert names(database) == set()


def test_read_sees_one_consistent_state(database: Database) -> None:
    with database.read() as reader:
        before = read_network(reader)
        with database.write() as session:
            put_institution(session, HOSPITAL)
        reader.expire_all()

        assert read_network(reader) == before
    assert names(database) == {"A"}


def test_broken_constraint_is_a_conflict(database: Database) -> None:
    with pytest.raises(Conflict, match="contradicts"), database.write() as session:
        session.execute(insert(InstitutionRow), [{"oid": "1.2", "name": "x", "state": "OPERATING"}] * 2)


def test_missing_reference_is_a_conflict(database: Database) -> None:
    with pytest.raises(Conflict), database.write() as session:
        session.add(PersonIdentifierRow(issuer_oid="1.2", patient_id="1", person_id="none"))


def test_value_that_does_not_fit_is_the_callers_fault(postgresql: Server) -> None:
    database = Database(postgresql.url("node"))
    for name, oid in (("nul\x00", "1.2"), ("long", "1" * 65)):
        with pytest.raises(InputError, match="does not fit"), database.write() as session:
            session.add(InstitutionRow(oid=oid, name=name, state="OPERATING"))
    database.close()


def test_errors_do_not_hold_values(database: Database) -> None:
    with pytest.raises(Conflict) as raised, database.write() as session:
        session.add(PersonIdentifierRow(issuer_oid="1.2", patient_id="SECRET", person_id="none"))

    assert "SECRET" not in str(raised.value)


def test_locked_database_is_unavailable_for_writers(locked: Database) -> None:
    with pytest.raises(StoreUnavailable, match="is locked"), locked.write() as session:
        put_institution(session, HOSPITAL)


def test_readers_do_not_wait_for_a_writer(locked: Database) -> None:
    assert names(locked) == set()


def test_writer_waits_for_its_lock_at_the_start(sqlite: Database) -> None:
    """Two that read before they write would both fail half way if the lock were taken at the first write."""
    start = threading.Barrier(2)
    errors: list[Exception] = []

    def rename(name: str) -> None:
        try:
            start.wait()
            for _ in range(20):
                with sqlite.write() as session:
                    session.scalars(select(InstitutionRow)).all()
                    put_institution(session, Institution(HOSPITAL_A, name))
        except Exception as error:  # shown by the assertion
            errors.append(error)

    threads = [threading.Thread(target=rename, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []


def test_no_database_where_there_is_no_folder(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'missing' / 'gateway.db'}")

    with pytest.raises(StoreUnavailable):
        names(database)


def test_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_bytes(b"not a database" * 1000)

    with pytest.raises(StoreUnavailable), node_database(tmp_path):
        pass


def test_server_that_does_not_answer(tmp_path: Path) -> None:
    database = Database(f"postgresql+psycopg://gateway@/node?host={tmp_path}")

    with pytest.raises(StoreUnavailable, match="No such file"):
        names(database)


def test_more_sessions_than_connections_wait_for_their_turn(database: Database) -> None:
    """As many threads as associations may be open read at once."""
    register_at = threading.Barrier(32)
    found: list[set[str]] = []

    def ask() -> None:
        register_at.wait()
        found.append(names(database))

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [set()] * 32
