"""Parts of a node as commands use them, beside a running node or without one."""

from pathlib import Path

import pytest

from gateway.app.parts import dial_settings, open_database, open_documents
from gateway.config import DeliverySettings, NodeSettings, Settings
from gateway.errors import StoreUnavailable
from gateway.store.network import read_network
from tests.scp.site import RunningSite, running_site, settings


def test_a_database_is_made_where_there_is_none(tmp_path: Path) -> None:
    fresh = Settings(node=NodeSettings(state_dir=tmp_path / "new" / "state"))
    database = open_database(fresh)
    with database.read() as session:
        assert read_network(session).institutions == {}
    database.close()

    assert (tmp_path / "new" / "state").stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_one_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")

    with pytest.raises(StoreUnavailable, match="cannot be used"):
        open_database(Settings(node=NodeSettings(state_dir=tmp_path / "file" / "state")))


def test_peers_are_called_by_our_own_title_unless_another_is_set() -> None:
    assert dial_settings(Settings()).calling_ae_title == "GATEWAY"
    other = Settings(delivery=DeliverySettings(calling_ae_title="OTHER", response_timeout_s=7.0))
    assert dial_settings(other).calling_ae_title == "OTHER"
    assert dial_settings(other).response_timeout_s == 7.0


def test_documents_open_beside_a_running_node_and_without_one(tmp_path: Path) -> None:
    site: RunningSite
    with running_site(settings(tmp_path), 1) as site:
        with open_documents(site.settings) as documents:
            assert documents.limit_bytes == site.settings.documents.limit_bytes
        site.stop()
        with open_documents(site.settings) as documents:
            assert documents.blobs is not None
