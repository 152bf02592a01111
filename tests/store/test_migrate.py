"""Schema versions, and that the migrations make what the tables say."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import insert, inspect, select, text

from gateway.domain.transfer import DeliveryId, DeliveryOutcome, DeliveryState
from gateway.errors import Conflict, StoreUnavailable
from gateway.store.database import Database
from gateway.store.migrate import prepare, upgrade
from gateway.store.queue import claim, finish
from gateway.store.tables import Base, DeliveryRow
from tests.build import NOON, register
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


# --- deliveries by record and destination (0002) ----------------------------------------------------------------------

DELIVERIES_OF_0001 = """
INSERT INTO decision VALUES ('d1', '2026-03-02 12:00:00', '1.2.3', '1.2.410.1', '1.2.410.2', 'permit', 'consent', '', 7,
    'TREATMENT', NULL);
INSERT INTO instance VALUES
    ('r1', '1.2.3.4', '1.2.5', '1.2.6', '1.2.3', '1.2.3.1', '1.2.410.1', 'A1', 'PACS_A', 4, 'ab', '2026-03-02 12:00:00',
     'SPOOLED'),
    ('r2', '1.2.3.5', '1.2.5', '1.2.6', '1.2.3', '1.2.3.1', '1.2.410.1', 'A1', 'PACS_A', 4, 'cd', '2026-03-02 12:00:01',
     'SPOOLED');
INSERT INTO delivery VALUES
    (1, 'r1', 'PACS_B', 'd1', 'COMPLETED', 1, '2026-03-02 12:00:00', '2026-03-02 12:00:09', 0, '', 'ab'),
    (2, 'r2', 'PACS_B', 'd1', 'QUEUED', 3, '2026-03-02 12:00:30', NULL, 42752, 'A700: out of resources', NULL),
    (3, 'r2', 'PACS_C', 'd1', 'ACTIVE', 0, '2026-03-02 12:00:01', NULL, NULL, '', NULL);
"""
"""One delivery that is done, one that is tried again, and one that was under way."""


def migrate(database: Database, step: Callable[[Config, str], None], to: str) -> None:
    """Run migrations up or down, as Alembic's own commands do."""
    config = Config()
    config.set_main_option("script_location", str(REPOSITORY / "gateway" / "store" / "migrations"))
    with database.write() as session:
        config.attributes["connection"] = session.connection()
        step(config, to)


def schema_of(database: Database, table: str) -> dict[str, object]:
    """What a table is like, in whatever order its parts were made."""
    with database.read() as session:
        seen = inspect(session.connection())
        return {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"]) for column in seen.get_columns(table)
            },
            "key": seen.get_pk_constraint(table)["constrained_columns"],
            "unique": [constraint["column_names"] for constraint in seen.get_unique_constraints(table)],
            "indexes": sorted(
                index["column_names"] for index in seen.get_indexes(table) if not index.get("duplicates_constraint")
            ),
            "foreign keys": sorted(key["constrained_columns"] for key in seen.get_foreign_keys(table)),
        }


def deliveries(database: Database, columns: str = "*") -> list[dict[str, object]]:
    with database.read() as session:
        query = text(f"SELECT {columns} FROM delivery ORDER BY record_id, destination_ae_title")  # noqa: S608
        return [dict(row) for row in session.execute(query).mappings()]


@pytest.fixture
def first_schema(empty: Database) -> Database:
    """A database of the first schema with deliveries in it."""
    migrate(empty, command.upgrade, "0001")
    with empty.write() as session:
        for statement in DELIVERIES_OF_0001.strip().split(";\n"):
            session.execute(text(statement.rstrip(";")))
    return empty


def test_upgrade_keeps_the_deliveries(first_schema: Database) -> None:
    before = deliveries(first_schema)

    upgrade(first_schema)

    assert len(before) == 3
    for row in before:
        del row["id"]
    assert deliveries(first_schema) == before
    with first_schema.write() as session:
        (waiting,) = claim(session, "PACS_B", NOON + timedelta(hours=1), 10)
        assert (waiting.record_id, waiting.attempts, waiting.xxh3_128) == ("r2", 3, None)
        assert finish(
            session,
            [DeliveryOutcome(DeliveryId("r2", "PACS_C"), DeliveryState.COMPLETED, NOON, 1, 0, sent_sha256="cd")],
        )
    assert [row["state"] for row in deliveries(first_schema)] == ["COMPLETED", "ACTIVE", "COMPLETED"]


def test_upgraded_schema_is_that_of_a_new_database(first_schema: Database) -> None:
    upgrade(first_schema)

    with first_schema.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    assert schema_of(first_schema, "delivery")["key"] == ["record_id", "destination_ae_title"]
    with pytest.raises(Conflict), first_schema.write() as session:
        session.execute(insert(DeliveryRow).from_select(list(DeliveryRow.__table__.columns), select(DeliveryRow)))


def test_downgrade_keeps_the_deliveries_and_makes_the_schema_there_was(first_schema: Database) -> None:
    before, schema = deliveries(first_schema), schema_of(first_schema, "delivery")
    upgrade(first_schema)

    migrate(first_schema, command.downgrade, "0001")

    assert schema_of(first_schema, "delivery") == schema
    kept = ", ".join(column for column in before[0] if column != "id")
    assert deliveries(first_schema, kept) == [
        {name: value for name, value in row.items() if name != "id"} for row in before
    ]
    with first_schema.write() as session:  # as the version before does: the id is the database's business
        session.execute(
            text(
                "INSERT INTO delivery (record_id, destination_ae_title, decision_id, state, attempts, due_at, detail)"
                " VALUES ('r1', 'PACS_C', 'd1', 'QUEUED', 0, '2026-03-02 12:00:01', '')"
            )
        )
    assert len({row["id"] for row in deliveries(first_schema)}) == 4
    upgrade(first_schema)
    assert len(deliveries(first_schema)) == 4


# --- at the same time -------------------------------------------------------------------------------------------------

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
