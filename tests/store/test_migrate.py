"""Schema versions, and that the migrations make what the tables say."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from gateway.errors import StoreUnavailable
from gateway.store.database import Database
from gateway.store.migrate import prepare, upgrade
from gateway.store.tables import Base
from tests.build import register
from tests.store.postgresql import Server

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'gateway.db'}", busy_timeout_s=0.05)
        yield database
        database.close()
        return
    server: Server = request.getfixturevalue("postgresql")
    server.create("bare")
    database = Database(server.url("bare"))
    yield database
    database.close()
    server.execute("DROP DATABASE bare")


def revision(database: Database) -> str | None:
    with database.read() as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


def tables(database: Database) -> set[str]:
    with database.read() as session:
        return set(inspect(session.connection()).get_table_names())


def test_empty_database_gets_the_schema(empty: Database) -> None:
    prepare(empty)

    assert tables(empty) == {"alembic_version", *Base.metadata.tables}
    register(empty)


def test_migrations_make_what_the_tables_say(empty: Database) -> None:
    prepare(empty)

    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_prepared_database_is_left_alone(empty: Database) -> None:
    prepare(empty)
    register(empty)
    before = revision(empty)

    prepare(empty)
    upgrade(empty)

    assert before is not None
    assert revision(empty) == before


def test_schema_of_another_version_is_refused(empty: Database) -> None:
    prepare(empty)
    with empty.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StoreUnavailable, match="schema 9999"):
        prepare(empty)
    with pytest.raises(StoreUnavailable, match="schema 9999"):
        upgrade(empty)

    assert revision(empty) == "9999"


def test_failed_upgrade_leaves_nothing_behind(empty: Database) -> None:
    """Somebody else's table of the same name is in the way of the last ones."""
    with empty.write() as session:
        session.execute(text("CREATE TABLE token (id INTEGER)"))

    with pytest.raises(StoreUnavailable):
        prepare(empty)

    assert tables(empty) == {"token"}


BEGIN = """
import sys
from gateway.store.database import Database
from gateway.store.migrate import prepare
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
prepare(database)
"""


def test_two_processes_that_start_at_once_make_one_schema(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    command = [sys.executable, "-c", BEGIN, url]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=REPOSITORY) for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in processes]

    assert [process.returncode for process in processes] == [0, 0], errors


def test_locked_database_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'gateway.db'}", busy_timeout_s=0.05)
    with closing(sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreUnavailable):
            prepare(database)
    database.close()
