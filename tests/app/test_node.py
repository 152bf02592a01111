"""A whole node in this process: what it opens, what it refuses, what it leaves behind."""

import socket
import threading
from pathlib import Path

import httpx
import pytest

from gateway.app.node import Gateway
from gateway.config import Settings, SpoolSettings, WebSettings
from gateway.domain.peer import ApplicationEntity
from gateway.errors import ConnectFailed, NetworkError, StoreUnavailable
from gateway.net.dial import DialSettings
from gateway.ops.send import echo
from tests.build import register
from tests.scp.raw import LOOPBACK
from tests.scp.site import RunningSite
from tests.scp.site import settings as quick_settings

DIAL = DialSettings("PACS_A", 5.0, 5.0, 5.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a node with REST."""
    return quick_settings(tmp_path / "state").model_copy(update={"web": WebSettings(port=0)})


def ready(gateway: Gateway) -> httpx.Response:
    return httpx.get(f"http://{LOOPBACK}:{gateway.web_port}/readyz", timeout=5.0)


def test_serves_until_it_is_stopped_and_again_on_the_same_state(settings: Settings) -> None:
    threads = set(threading.enumerate())
    for _ in range(2):
        gateway = Gateway(settings)
        gateway.start()
        assert ready(gateway).status_code == 200
        peer = ApplicationEntity("GATEWAY", "", LOOPBACK, gateway.dicom_port)
        with pytest.raises(NetworkError, match="rejected"):  # it answers, and knows nobody yet
            echo(peer, DIAL)
        gateway.stop()
        with pytest.raises(NetworkError, match="Connection refused"):
            echo(peer, DIAL)
    assert set(threading.enumerate()) == threads
    left = {path.name for path in settings.node.state_dir.rglob("*") if path.is_file()}
    assert left == {"gateway.db", "lock"}


def test_without_rest(tmp_path: Path) -> None:
    site = RunningSite(quick_settings(tmp_path))
    site.register(1)
    site.start()
    assert site.gateway is not None
    assert site.gateway.web_port is None
    assert echo(ApplicationEntity("GATEWAY", "", LOOPBACK, site.port), DialSettings("STORESCU", 5.0, 5.0, 5.0)) > 0
    site.stop()
    site.close()


def test_two_never_share_a_state(settings: Settings) -> None:
    gateway = Gateway(settings)
    with pytest.raises(StoreUnavailable, match="in use by another gateway process"):
        Gateway(settings)
    gateway.start()
    gateway.stop()


def test_a_port_of_somebody_else(settings: Settings) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        scp = settings.scp.model_copy(update={"port": port})
        with pytest.raises(ConnectFailed, match=f"cannot listen on {LOOPBACK}:{port}"):
            Gateway(settings.model_copy(update={"scp": scp}))


def test_is_not_ready_where_the_disk_is_nearly_full(settings: Settings) -> None:
    spool = SpoolSettings(free_space_floor_bytes=1 << 40)
    gateway = Gateway(settings.model_copy(update={"spool": spool}))
    gateway.start()
    answer = ready(gateway)
    gateway.stop()
    assert answer.status_code == 503
    assert "free space in the spool is below its floor" in answer.text


def test_uploads_that_a_crash_cut_off_are_removed_at_the_start(settings: Settings) -> None:
    parts = settings.blob_dir / "part"
    parts.mkdir(parents=True)
    (parts / "half").write_bytes(b"%PDF-1.7")
    gateway = Gateway(settings)
    assert list(parts.iterdir()) == []
    gateway.start()
    gateway.stop()


def test_a_registered_peer_is_known_from_the_start(settings: Settings) -> None:
    site = RunningSite(settings)
    site.edit(lambda _: None)
    register(site._database)
    site.start()
    assert echo(ApplicationEntity("GATEWAY", "", LOOPBACK, site.port), DIAL) > 0
    site.stop()
    site.close()
