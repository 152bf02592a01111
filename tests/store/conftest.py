"""Databases to test on: SQLite always, PostgreSQL where it is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.database import Database
from tests.build import node_database
from tests.store.postgresql import Server, empty, running_server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A server of our own."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with this version's schema, to be copied."""
    folder = tmp_path_factory.mktemp("schema")
    with node_database(folder):
        pass
    return folder / "gateway.db"


@pytest.fixture
def sqlite(tmp_path: Path, schema: Path) -> Iterator[Database]:
    """An empty database of this version, on SQLite."""
    file = tmp_path / "gateway.db"
    file.write_bytes(schema.read_bytes())
    database = Database(f"sqlite:///{file}")
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """An empty database of this version, on each kind."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite")
        return
    server: Server = request.getfixturevalue("postgresql")
    shared = Database(server.url("node"))
    yield shared
    empty(shared)
    shared.close()
