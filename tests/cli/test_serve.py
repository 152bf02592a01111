"""`gateway serve` as a process of its own, `gateway status` beside it, `gateway db`."""

import json
import logging
import signal
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.app.node import ABORT_GRACE_S
from gateway.app.parts import open_database
from gateway.cli.common import ExitCode
from gateway.config import load
from gateway.ops.counterparts import free_port
from tests.build import PACS_A, register
from tests.cli.typed import HOSPITAL_A, Typist
from tests.processes import environment
from tests.scp.raw import ABORT, LOOPBACK, RawPeer
from tests.wait import wait_until

DRAIN_TIMEOUT_S = 2
START_TIMEOUT_S = 60.0
"""A cold Python on a busy machine."""

SLACK_S = 10.0
"""For a busy machine to end a process that is done."""


class Served:
    """A node as somebody starts it: `gateway serve` in the folder of its settings."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        settings = load(folder / "gateway.toml", environ={})
        self.dicom_port, self.web_port = settings.scp.port, settings.web.port
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", "serve", *options],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            umask=0o022,
        )

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.process.poll() is not None or self.is_ready(), START_TIMEOUT_S)
        assert self.process.poll() is None, self.process.communicate()

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"http://{LOOPBACK}:{self.web_port}/readyz", timeout=5.0).is_success
        except httpx.HTTPError:
            return False

    def ended(self, timeout_s: float = START_TIMEOUT_S) -> tuple[int, str, str]:
        """Exit code, standard output and standard error, once it has ended by itself."""
        out, err = self.process.communicate(timeout=timeout_s)
        assert "Traceback" not in out + err
        return self.process.returncode, out, err


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Served]:
    """A started node, killed at the end if it still runs."""
    served = Served(folder, *options)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.process.kill()
        served.process.communicate()


def write_settings(folder: Path, **ports: int) -> None:
    """A settings file; ports are free ones unless given."""
    dicom = ports.get("dicom") or free_port()
    web = ports.get("web") or free_port(dicom)
    (folder / "gateway.toml").write_text(
        f"scp.port = {dicom}\nscp.drain_timeout_s = {DRAIN_TIMEOUT_S}\nweb.port = {web}\n"
        "spool.free_space_floor_bytes = 16777216\n"
    )


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A node that runs, for tests that do not end it; ended by Ctrl-C afterwards, and then nothing is half done."""
    folder = tmp_path_factory.mktemp("running")
    write_settings(folder)
    with serving(folder) as served:
        served.wait_until_ready()
        yield served
        served.process.send_signal(signal.SIGINT)
        assert served.ended(SLACK_S)[0] == 0
    left = {path.name for path in (folder / "state").rglob("*") if path.is_file()}
    assert left == {"gateway.db", "lock"}


@pytest.fixture
def refused(typed: Typist) -> Iterator[Callable[..., str]]:
    """Runs `serve` in this process, where it must not start; gives the one line it told."""
    root, ours = logging.getLogger(), logging.getLogger("gateway")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning)
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interval = sys.getswitchinterval()

    def refused(*arguments: str | Path) -> str:
        outcome = typed("serve", *arguments)
        assert outcome.code == ExitCode.FAILED
        return outcome.told

    yield refused
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks
    for number, handler in signals.items():
        signal.signal(number, handler)
    sys.setswitchinterval(interval)


class TestWhileItRuns:
    def test_status_beside_it(self, running: Served, typed: Typist) -> None:
        status = typed.done("status", "--config", running.folder / "gateway.toml", "--json").json
        assert status["destinations"] == []
        assert status["spool_free_bytes"] > 0

    def test_a_change_made_beside_it_is_in_effect(self, running: Served, typed: Typist) -> None:
        config = ("--config", running.folder / "gateway.toml")
        typed.done("institution", "add", HOSPITAL_A, "Hospital A", *config)
        typed.done("ae", "add", "ME", LOOPBACK, "104", "--institution", HOSPITAL_A, *config)
        peer = f"GATEWAY@{LOOPBACK}:{running.dicom_port}"
        wait_until(lambda: typed("echo", peer, "--aet", "ME", *config).code == 0)
        typed.done("ae", "remove", "ME", *config)
        wait_until(lambda: typed("echo", peer, "--aet", "ME", *config).code == ExitCode.UNREACHABLE)

    def test_what_it_keeps_is_for_its_own_user_alone(self, running: Served) -> None:
        for path in (running.folder / "state").rglob("*"):
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
        assert (running.folder / "state").stat().st_mode & 0o777 == 0o700

    def test_a_second_one_on_the_same_state_is_refused(self, running: Served, refused: Callable[..., str]) -> None:
        line = refused("--config", running.folder / "gateway.toml", "--set", "scp.port=0", "--set", "web.port=0")
        assert line == f"the spool {running.folder / 'state' / 'spool'} is in use by another gateway process"
        assert running.is_ready()

    def test_a_dicom_port_of_somebody_else(
        self, running: Served, folder: Path, typed: Typist, refused: Callable[..., str]
    ) -> None:
        line = refused("--set", f"scp.port={running.dicom_port}")
        assert line.startswith(f"cannot listen on {LOOPBACK}:{running.dicom_port}: Address already in use")
        assert line.endswith("; stop what uses it, or set another scp.port or web.port")

    def test_a_rest_port_of_somebody_else(self, running: Served, tmp_path: Path) -> None:
        write_settings(tmp_path, web=running.web_port)
        with serving(tmp_path) as second:
            code, out, err = second.ended()
        assert (code, out) == (ExitCode.FAILED, "")
        (line,) = err.splitlines()
        assert line.startswith(f"cannot listen on {LOOPBACK}:{running.web_port}: ")
        assert "already in use" in line
        assert "web.port" in line
        assert running.is_ready()


class TestStopping:
    def test_sigterm_ends_it_within_the_drain_time(self, tmp_path: Path) -> None:
        """Though somebody holds an association who never says goodbye, and somebody else never says who it is."""
        write_settings(tmp_path)
        register(open_database(load(tmp_path / "gateway.toml", environ={})))
        with serving(tmp_path) as served:
            served.wait_until_ready()
            with RawPeer(served.dicom_port) as silent, RawPeer(served.dicom_port):
                silent.associate(calling=PACS_A)
                assert silent.echo() == 0
                served.process.send_signal(signal.SIGTERM)
                code, out, err = served.ended(DRAIN_TIMEOUT_S + 2 * ABORT_GRACE_S + SLACK_S)
                assert [kind for kind, _ in silent.read_to_end()] == [ABORT]
        assert (code, out) == (0, "")
        events = [json.loads(line)["event"] for line in err.splitlines()]
        assert events[:2] == ["serving_dicom", "serving_rest"]
        assert events[-1] == "stopped"
        assert "draining" in events


class TestJson:
    def test_it_says_where_it_serves_in_one_line(self, tmp_path: Path) -> None:
        """With ports that nobody chose, nobody could know otherwise."""
        write_settings(tmp_path)
        with serving(tmp_path, "--set", "scp.port=0", "--set", "web.port=0", "--json") as served:
            assert served.process.stdout is not None
            places = json.loads(served.process.stdout.readline())
            assert places["dicom"].items() >= {"ae_title": "GATEWAY", "host": LOOPBACK}.items()
            assert httpx.get(f"http://{LOOPBACK}:{places['rest']['port']}/readyz", timeout=START_TIMEOUT_S).is_success
            with RawPeer(places["dicom"]["port"]) as nobody:
                nobody.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert [kind for kind, _ in nobody.read_to_end()] == [ABORT]
            served.process.send_signal(signal.SIGTERM)
            code, out, _ = served.ended()
        assert (code, out) == (0, "")

    def test_without_rest(self, tmp_path: Path) -> None:
        write_settings(tmp_path)
        with serving(tmp_path, "--set", "web.enabled=false", "--json") as served:
            assert served.process.stdout is not None
            places = json.loads(served.process.stdout.readline())
        assert places == {"dicom": {"ae_title": "GATEWAY", "host": LOOPBACK, "port": served.dicom_port}, "rest": None}

    def test_what_keeps_it_from_starting(self, tmp_path: Path) -> None:
        write_settings(tmp_path)
        (tmp_path / "state").write_text("in the way")
        with serving(tmp_path, "--json") as served:
            code, out, err = served.ended()
        assert code == ExitCode.FAILED
        assert json.loads(out) == {"error": err.strip(), "exit_code": ExitCode.FAILED}


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "options", "expected"),
        [
            ("[scp]\nport = 99999\n", (), "gateway.toml:2: scp.port: found 99999, expected"),
            ("[scp]\nprot = 1\n", (), "gateway.toml:2: unknown key scp.prot; did you mean scp.port?"),
            ("", ("--set", "scp.port"), "--set takes KEY=VALUE"),
            ("", ("--set", "web.port=x"), "command line: web.port: found"),
            ("", ("--config", "other.toml"), "other.toml: no such file; `gateway init` writes a starter file"),
        ],
    )
    def test_wrong_settings(
        self, typed: Typist, folder: Path, content: str, options: tuple[str, ...], expected: str
    ) -> None:
        (folder / "gateway.toml").write_text(content)
        outcome = typed("serve", *options)
        assert outcome.code == ExitCode.USAGE
        assert outcome.told.startswith(expected)
        assert not (folder / "state").exists()

    def test_the_schema_of_another_version(self, registered: Typist, folder: Path, refused: Callable[..., str]) -> None:
        with sqlite3.connect(folder / "state" / "gateway.db") as database:
            database.execute("UPDATE alembic_version SET version_num = '0000'")
        database.close()
        assert "run `gateway db upgrade` after a backup" in refused()


class TestUpgrade:
    def test_makes_a_database_where_there_is_none(self, typed: Typist, folder: Path) -> None:
        assert typed.done("db", "upgrade").out == "The database has the schema of this version.\n"
        assert typed.done("db", "upgrade", "--json").json == {"upgraded": True}
        assert typed.done("institution", "list", "--json").json == []

    def test_one_of_a_newer_version_is_left_alone(self, registered: Typist, folder: Path) -> None:
        path = folder / "state" / "gateway.db"
        with sqlite3.connect(path) as database:
            database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.close()
        before = path.read_bytes()
        outcome = registered("db", "upgrade")
        assert outcome.code == ExitCode.FAILED
        assert outcome.told == "the database has schema 9999, which this version does not know"
        assert path.read_bytes() == before
