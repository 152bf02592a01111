"""A folder with a node's settings, and somebody who types commands in it."""

import os
import shutil
from pathlib import Path

import pytest

from gateway.domain.institution import Institution
from gateway.domain.peer import ApplicationEntity
from gateway.domain.transfer import Route
from gateway.store.network import put_ae, put_institution, put_route
from tests.build import node_database
from tests.cli.typed import HOSPITAL_A, HOSPITAL_B, Typist


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: an empty one, with no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GATEWAY_") and name != "GATEWAY_COUNTERPARTS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def typed(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typist:
    """Types commands for a node that has settings and nothing else yet."""
    (folder / "gateway.toml").write_text("[scp]\nport = 0\n[web]\nport = 0\n")
    return Typist(capsys, monkeypatch)


@pytest.fixture(scope="session")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with two institutions, an AE title of each, and a route; to be copied."""
    folder = tmp_path_factory.mktemp("network")
    with node_database(folder) as database, database.write() as session:
        put_institution(session, Institution(HOSPITAL_A, "Hospital A"))
        put_institution(session, Institution(HOSPITAL_B, "Hospital B"))
        session.flush()
        put_ae(session, ApplicationEntity("PACS_A", HOSPITAL_A, "192.0.2.1", 104, ("192.0.2.1",)))
        put_ae(session, ApplicationEntity("PACS_B", HOSPITAL_B, "192.0.2.2", 104, ("192.0.2.2",)))
        put_route(session, Route("a-to-b", "PACS_B", "PACS_A"))
    return folder / "gateway.db"


@pytest.fixture
def registered(typed: Typist, folder: Path, network_file: Path) -> Typist:
    """The same with that network."""
    (folder / "state").mkdir(mode=0o700)
    shutil.copy(network_file, folder / "state" / "gateway.db")
    return typed
