"""A gateway of our own in a process of its own: started, stopped, killed, let go, and never left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.errors import PeerSystemError
from gateway.ops.node import GatewayNode
from tests.processes import environment, processes_with
from tests.wait import wait_until

MARK = "GATEWAY_TEST_MARK"


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """In the environment of every process started from here on, so that each can be found again."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(MARK, str(tmp_path))
    return str(tmp_path)


def running(mark: str) -> list[int]:
    return [pid for pid in processes_with(MARK, mark) if pid != os.getpid()]


def is_ready(node: GatewayNode) -> bool:
    try:
        return httpx.get(f"{node.rest_url}/readyz", timeout=5.0).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def node(tmp_path: Path, mark: str) -> Iterator[GatewayNode]:
    node = GatewayNode(tmp_path / "node", {"log.level": "debug"})
    yield node
    node.kill()
    assert running(mark) == []


def test_starts_stops_and_starts_again_on_the_same_state(node: GatewayNode) -> None:
    with node:
        assert is_ready(node)
        os.kill(node.pid, 0)
    assert (node.pid, is_ready(node)) == (0, False)
    first = [json.loads(line)["event"] for line in node.log_file.read_text().splitlines()]
    assert "serving_dicom" in first
    assert first[-1] == "stopped"

    node.start()
    node.kill()  # as in a crash
    assert (node.pid, is_ready(node)) == (0, False)
    node.stop()  # harmless where nothing runs
    second = [json.loads(line)["event"] for line in node.log_file.read_text().splitlines()][len(first) :]
    assert "serving_dicom" in second
    assert "stopped" not in second


def test_says_why_it_did_not_start(tmp_path: Path, mark: str) -> None:
    node = GatewayNode(tmp_path / "node")
    node.config_file.write_text(node.config_file.read_text() + "scp.nonsense = 1\n")
    with pytest.raises(PeerSystemError, match=r"the gateway did not start; it said: .*unknown key scp\.nonsense"):
        node.start()
    assert node.pid == 0
    assert running(mark) == []


def test_settings_of_another_node_do_not_reach_it(tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setenv("GATEWAY__NODE__STATE_DIR", str(elsewhere))
    monkeypatch.setenv("GATEWAY__SCP__PORT", "1")
    with GatewayNode(tmp_path / "node") as node:
        assert is_ready(node)
    assert not elsewhere.exists()
    assert (tmp_path / "node" / "state" / "gateway.db").is_file()
    assert running(mark) == []


@pytest.mark.parametrize("value", ['two "words"', "a\\b", "병원", "😀", "'", "#"])
def test_values_are_written_as_they_are(tmp_path: Path, value: str) -> None:
    assert GatewayNode(tmp_path, {"node.state_dir": value}).settings.node.state_dir == tmp_path / value


def test_numbers_and_flags_are_no_texts(tmp_path: Path) -> None:
    node = GatewayNode(tmp_path, {"delivery.linger_s": "1.5", "web.enabled": "false", "scp.associations": "7"})
    assert node.settings.delivery.linger_s == 1.5
    assert (node.settings.web.enabled, node.settings.scp.associations) == (False, 7)


STARTER = """
import sys
from pathlib import Path
from gateway.ops.node import GatewayNode

node = GatewayNode(Path(sys.argv[1]))
node.start()
if sys.argv[2] == "detach":
    node.detach()
print(node.config_file, node.rest_url, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("way", ["stay", "detach"])
def test_when_its_starter_is_killed(tmp_path: Path, mark: str, way: str) -> None:
    """By SIGKILL: what was not let go of ends; what was goes on, and no guard is left either."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, tmp_path / "node", way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        said = starter.stdout.readline()
        assert said, "it did not start"
        others = [pid for pid in running(mark) if pid != starter.pid]
        starter.kill()
    if way == "stay":
        assert len(others) == 2, "the node and its guard"
        wait_until(lambda: running(mark) == [], 20.0)
        assert "stopped" in (tmp_path / "node" / "gateway.log").read_text()
        return
    (pid,) = others
    assert httpx.get(f"{said.split()[1]}/livez", timeout=5.0).is_success
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: running(mark) == [], 20.0)
