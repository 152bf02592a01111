"""Real programs in folders of their own: found, started, reachable, and gone afterwards whatever happened."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer

import pytest

from gateway.errors import DeadlineExceeded, NotFound, PeerSystemError
from gateway.ops import counterparts
from gateway.ops.counterparts import OrthancServer, StoreScp, find, free_port, run_tool
from gateway.scu.orthanc import OrthancNode


def until(condition: Callable[[], bool], deadline_s: float = 20.0) -> bool:
    end = time.monotonic() + deadline_s
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return met


def program(folder: Path, name: str, script: str) -> Path:
    """An executable in `folder`/bin, as a folder of counterparts has them."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# Finding


def test_the_folder_of_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = program(tmp_path, "storescu", "")
    monkeypatch.setenv("GATEWAY_COUNTERPARTS", str(tmp_path))

    assert find("storescu") == expected


def test_the_path_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "no-such-tool", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert find("no-such-tool") is None
    with pytest.raises(NotFound, match="make counterparts"):
        run_tool("no-such-tool")


def test_a_file_that_cannot_be_run_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "no-such-tool", "").chmod(0o644)
    monkeypatch.setenv("GATEWAY_COUNTERPARTS", str(tmp_path))

    assert find("no-such-tool") is None


# Ports and tools


def test_a_free_port_can_be_listened_on_everywhere() -> None:
    port = free_port()

    with TCPServer(("", port), BaseRequestHandler) as server:
        assert server.server_address[1] == port


def test_no_free_port_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with TCPServer(("127.0.0.1", 0), BaseRequestHandler) as server:
        taken = server.server_address[1]
        monkeypatch.setattr(counterparts, "PORTS", range(taken, taken + 1))
        with pytest.raises(PeerSystemError, match="no free TCP port"):
            free_port()


def test_ports_already_chosen_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port()
    monkeypatch.setattr(counterparts, "PORTS", range(first, first + 1))

    with pytest.raises(PeerSystemError):
        free_port(first)


def test_a_tool_gives_its_output_and_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "tool", 'echo "$1 $SHADE"; echo wrong >&2; exit 3')
    monkeypatch.setenv("GATEWAY_COUNTERPARTS", str(tmp_path))

    done = run_tool("tool", "light", env={"SHADE": "blue"})

    assert (done.returncode, done.stdout, done.stderr) == (3, "light blue\n", "wrong\n")


def test_a_tool_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "tool", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    monkeypatch.setenv("GATEWAY_COUNTERPARTS", str(tmp_path))

    with pytest.raises(DeadlineExceeded, match=r"tool was not done after 0\.5 s"):
        run_tool("tool", timeout_s=0.5)

    assert not alive(int((tmp_path / "pid").read_text()))


# Orthanc


@pytest.mark.needs("orthanc")
def test_orthanc_runs_with_its_own_password_and_leaves_nothing(tmp_path: Path) -> None:
    with OrthancServer("Hospital A", "HOSPITAL_A", scratch=tmp_path) as server:
        with server.node() as node:
            system = node.system()
        configuration = server.folder / "orthanc.json"
        mode = stat.S_IMODE(configuration.stat().st_mode)
        settings = json.loads(configuration.read_text())
        log = server.log.read_text()
        pid = server.pid
        assert alive(pid)

    assert (system.name, system.aet, system.dicom_port) == ("Hospital A", "HOSPITAL_A", server.dicom_port)
    assert mode == 0o600
    assert settings["RegisteredUsers"] == {server.username: server.password}
    assert not [line for line in log.splitlines() if line.startswith("E")], log
    assert server.password not in log + repr(server)
    assert not alive(pid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("orthanc")
def test_orthanc_loads_no_plugin_and_refuses_strangers(tmp_path: Path) -> None:
    with OrthancServer("Hospital A", "HOSPITAL_A", scratch=tmp_path) as server:
        for password in ("", "orthanc"):
            stranger = OrthancNode(server.http_url, username="orthanc", password=password)
            with stranger, pytest.raises(PeerSystemError, match="401"):
                stranger.system()
        log = server.log.read_text()

    assert "Orthanc has started" in log
    assert "Registering plugin" not in log


@pytest.mark.needs("orthanc", "dcmtk")
def test_orthanc_checks_the_called_ae_title_and_takes_settings(tmp_path: Path) -> None:
    with OrthancServer("A", "HOSPITAL_A", settings={"Name": "Other"}, scratch=tmp_path) as server:
        right = run_tool("echoscu", "-aec", "HOSPITAL_A", "127.0.0.1", str(server.dicom_port))
        wrong = run_tool("echoscu", "-aec", "HOSPITAL_B", "127.0.0.1", str(server.dicom_port))
        with server.node() as node:
            name = node.system().name

    assert right.returncode == 0, right.stderr
    assert wrong.returncode != 0
    assert name == "Other"


@pytest.mark.needs("orthanc")
def test_orthanc_is_started_again_when_its_port_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TCPServer(("", 0), BaseRequestHandler) as other:
        taken = iter([free_port(), other.server_address[1]])
        monkeypatch.setattr(counterparts, "free_port", lambda *_: next(taken, None) or free_port())
        with OrthancServer("A", "HOSPITAL_A", scratch=tmp_path) as server, server.node() as node:
            assert node.system().dicom_port != other.server_address[1]


@pytest.mark.needs("orthanc")
def test_orthanc_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    not_a_folder = tmp_path / "file"
    not_a_folder.touch()
    server = OrthancServer("A", "A", settings={"StorageDirectory": str(not_a_folder)}, scratch=scratch)

    with pytest.raises(PeerSystemError, match=r"Orthanc ended with exit code .* regular file"):
        server.start()

    assert list(scratch.iterdir()) == []


@pytest.mark.needs("orthanc")
def test_a_kept_folder_stays_and_stop_may_be_repeated(tmp_path: Path) -> None:
    server = OrthancServer("A", "HOSPITAL_A", scratch=tmp_path, keep=True)
    server.start()
    pid = server.pid
    server.stop()
    server.stop()

    assert not alive(pid)
    assert server.log.exists()


STARTER = """
import sys
from pathlib import Path
from gateway.ops.counterparts import OrthancServer

server = OrthancServer("A", "HOSPITAL_A", scratch=Path(sys.argv[1]))
server.start()
if sys.argv[2] == "detach":
    server.detach()
print(server.pid if sys.argv[2] != "detach" else next(Path(sys.argv[1]).iterdir()), flush=True)
if sys.argv[2] == "hang":
    sys.stdin.read()
"""


@pytest.mark.needs("orthanc")
def test_orthanc_and_its_folder_go_with_a_starter_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path), "hang"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout
        pid = int(starter.stdout.readline())
        assert alive(pid)
        starter.kill()

    assert until(lambda: not alive(pid))
    assert until(lambda: not any(tmp_path.iterdir()))


@pytest.mark.needs("orthanc")
def test_a_detached_orthanc_outlives_its_starter(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path), "detach"]
    folder = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    settings = json.loads((folder / "orthanc.json").read_text())
    [(username, password)] = settings["RegisteredUsers"].items()
    pids = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes()
    ]
    try:
        with OrthancNode(f"http://127.0.0.1:{settings['HttpPort']}", username=username, password=password) as node:
            assert node.system().aet == "HOSPITAL_A"
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


# storescp


@pytest.mark.needs("dcmtk")
def test_storescp_answers_and_leaves_nothing(tmp_path: Path) -> None:
    with StoreScp("ARCHIVE", scratch=tmp_path) as scp:
        echo = run_tool("echoscu", "-aec", "ARCHIVE", "127.0.0.1", str(scp.port))
        files = scp.files()
        pid = scp.pid

    assert echo.returncode == 0, echo.stderr
    assert files == []
    assert not alive(pid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("dcmtk")
def test_storescp_with_wrong_arguments_says_so(tmp_path: Path) -> None:
    with pytest.raises(PeerSystemError, match="storescp ended with exit code"):
        StoreScp("ARCHIVE", "--no-such-option", scratch=tmp_path).start()
