"""A PostgreSQL server of our own, on a private socket, that ends with the tests."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from gateway.ops.process import GuardedProcess
from gateway.store.database import Database
from gateway.store.migrate import prepare
from gateway.store.tables import Base
from tests.wait import wait_until

PROGRAMS = Path("/usr/lib/postgresql")
"""Where Debian puts the servers, one folder per version."""
START_TIMEOUT_S = 30.0
UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root."""


def find(program: str) -> Path | None:
    """The program of the newest version here."""
    found = [path for path in PROGRAMS.glob(f"*/bin/{program}") if os.access(path, os.X_OK)]
    return max(found, key=lambda path: float(path.parts[-3]), default=None)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server with a database `node` of this version."""

    folder: Path

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://gateway@/{database}?host={self.folder}"

    def execute(self, statement: str) -> None:
        with psycopg.connect(host=str(self.folder), user="gateway", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, database: str) -> None:
        """Make a database without tables."""
        self.execute(f"CREATE DATABASE {database}")

    def answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def running_server() -> Iterator[Server]:
    """A server for the tests of this run; skips where PostgreSQL is missing."""
    initdb, postgres = find("initdb"), find("postgres")
    if initdb is None or postgres is None:
        pytest.skip("missing here: postgresql (the system's package; its service need not run)")
    folder = Path(tempfile.mkdtemp(prefix="gateway-pg-"))
    become = _unprivileged(folder)
    data = folder / "data"
    try:
        subprocess.run(
            [*become, initdb, "-D", data, "-U", "gateway", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        options = {"listen_addresses": "", "unix_socket_directories": str(folder), "fsync": "off"}
        arguments = [f"-c{name}={value}" for name, value in options.items()]
        server = Server(folder)
        process = GuardedProcess(
            [*become, postgres, "-D", data, *arguments], log=folder / "log", env={}, folder_to_remove=folder
        )
        try:
            wait_until(lambda: server.answers() or process.exit_code is not None, START_TIMEOUT_S)
            assert process.exit_code is None, (folder / "log").read_text()
            _make_database(server)
            yield server
        finally:
            process.stop(tidy=False)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged(folder: Path) -> list[str | Path]:
    """How to run as somebody else than root, who then owns the folder."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(UNPRIVILEGED)
    os.chown(folder, user.pw_uid, user.pw_gid)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("missing here: setpriv, without which root cannot start postgresql")
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--no-new-privs"]


def empty(database: Database) -> None:
    """Delete every row, which is much faster than a database of its own for each test."""
    tables = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
    with database.write() as session:
        session.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))


def _make_database(server: Server) -> None:
    """The one with the schema of this version."""
    server.create("node")
    database = Database(server.url("node"))
    try:
        prepare(database)
    finally:
        database.close()
