"""The demo as a user runs it, on generated and on real images; and with things going wrong, which it has to notice."""

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from gateway.app.parts import open_database
from gateway.domain.peer import ApplicationEntity
from gateway.ops.counterparts import LOOPBACK
from gateway.ops.demo.scenes import SCENES
from gateway.ops.demo.stage import AE_B, HOSPITAL_B, Stage
from gateway.store.network import put_ae
from tests.cli.typed import Typist
from tests.processes import environment, processes_with
from tests.wait import wait_until
from tests.wire.real_files import REAL_DATA

pytestmark = [pytest.mark.needs("orthanc"), pytest.mark.interop]

CLAIMS = [
    "without a consent the study is refused",
    "nothing of it is at Hospital B",
    "the reason on record is no_consent",
    "with the consent every image is at Hospital B",
    "a referral letter is attached to the study",
    "Hospital B reads the letter, byte for byte",
    "after the withdrawal the next study is refused",
    "none of its 5 images is at Hospital B",
    "the reason on record is withdrawn",
    "the letter is refused to Hospital B",
    "on the wire, {0} of {0} data sets left the gateway byte for byte as they came",
    "in the archives, {0} of {0} images hold the same elements and pixels",
]
INSTANCES = 12
STOP_TIMEOUT_S = 30.0
DEMO_TIMEOUT_S = 300.0


def demo(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`gateway demo` with these arguments, its temporary folders below `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", "demo", *arguments],
        env=environment(TMPDIR=str(folder), COLUMNS="200"),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEMO_TIMEOUT_S,
    )


def summary(out: str) -> list[tuple[str, str]]:
    """What the table at the end says: each claim with yes or NO."""
    table = out.partition("Summary")[2]
    return [(line[:3].strip(), line[5:].strip()) for line in table.splitlines() if line.startswith(("yes", "NO "))]


def claims(instances: int) -> list[tuple[str, str]]:
    return [("yes", claim.format(instances)) for claim in CLAIMS]


def test_on_generated_images(tmp_path: Path) -> None:
    shown = demo(tmp_path, "--instances", str(INSTANCES))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert summary(shown.stdout) == claims(INSTANCES)
    for _, claim in claims(INSTANCES):
        assert shown.stdout.count(claim) == 2, "at once and at the end"
    assert "12 of 12 checks held in" in shown.stdout
    assert re.search(rf"{INSTANCES} images in [0-9.]+ s: [0-9]+ images/s, [0-9]+ MB/s", shown.stdout)
    assert list(tmp_path.iterdir()) == []
    assert processes_with("TMPDIR", str(tmp_path)) == []


def test_on_real_images_left_running_until_told_to_stop(tmp_path: Path) -> None:
    real = REAL_DATA / "ct_head_ge"
    count = len(list(real.glob("*.dcm")))
    source = ("--dicom", str(real)) if count else ("--instances", "5")
    try:
        shown = demo(tmp_path, *source, "--keep", "--json")
        assert shown.returncode == 0
        assert summary(shown.stderr) == claims(count or 5)
        told = json.loads(shown.stdout)
        assert told["all_held"] is True
        assert [("yes", check["claim"]) for check in told["checks"] if check["held"]] == claims(count or 5)
        assert told["study"]["instances"] == (count or 5)
        assert 0 < told["study"]["seconds"] < told["seconds"]
        left = told["left_running"]
        pids = left.pop("pids")
        said = shown.stderr.partition("Left running:")[2]
        assert [value for value in left.values() if value not in said] == []
        assert_usable(left, count or 5)
        stop = re.search(r"stop with: (kill [0-9 ]+)$", said, re.MULTILINE)
        assert stop is not None
        assert stop[1].split()[1:] == [str(pid) for pid in pids]
        subprocess.run(["/bin/sh", "-c", stop[1]], check=True)
        wait_until(lambda: processes_with("TMPDIR", str(tmp_path)) == [], STOP_TIMEOUT_S)
        assert [str(path) for path in tmp_path.iterdir()] == [left["folder"]]
    finally:
        for pid in processes_with("TMPDIR", str(tmp_path)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for folder in tmp_path.iterdir():
            shutil.rmtree(folder)


def assert_usable(left: dict[str, str], count: int) -> None:
    """What was left running is where it is said to be."""
    for hospital, expected_count in (("hospital_a", count + 5), ("hospital_b", count)):
        password_file = Path(left[f"{hospital}_password_file"])
        assert password_file.stat().st_mode & 0o777 == 0o600
        (user,) = json.loads(password_file.read_text())["RegisteredUsers"].items()
        statistics = httpx.get(f"{left[f'{hospital}_url']}statistics", auth=user, timeout=10.0).json()
        assert statistics["CountInstances"] == expected_count
    tokens = Path(left["tokens_file"])
    assert tokens.stat().st_mode & 0o777 == 0o600
    token = tokens.read_text().splitlines()[0].split()[2]
    bearer = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(f"{left['gateway_rest_url']}/api/v1/decisions", headers=bearer, timeout=10.0)
    assert answer.status_code == 200
    assert Path(left["gateway_log_file"]).is_file()
    assert echoes(left["gateway_config_file"])


def echoes(config_file: str) -> bool:
    """Whether the gateway reaches Hospital B as it is registered now."""
    echo = [sys.executable, "-m", "gateway", "echo", AE_B, "--config", config_file]
    return subprocess.run(echo, env=environment(), capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "gateway", "demo", "--instances", "3"]
    with subprocess.Popen(command, env=environment(TMPDIR=str(tmp_path)), stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: list(tmp_path.glob("*/gateway*")), STOP_TIMEOUT_S)  # an Orthanc is being started
        process.send_signal(number)
        assert process.wait(STOP_TIMEOUT_S) == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert processes_with("TMPDIR", str(tmp_path)) == []


class Corrupter:
    """Relays to a port and turns one bit of one data set on its way there."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._lock = threading.Lock()
        self.turned = False
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_S)

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(caller,), daemon=True))
            self._threads[-1].start()

    def _serve(self, caller: socket.socket) -> None:
        with caller, socket.create_connection((LOOPBACK, self._target_port)) as called:
            back = threading.Thread(target=self._pass_on, args=(called, caller))
            back.start()
            self._pass_pdus_on(caller, called)
            back.join()

    @staticmethod
    def _pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _pass_pdus_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source.makefile("rb") as stream:
            while header := stream.read(6):
                kind, length = struct.unpack(">BxI", header)
                body = bytearray(stream.read(length))
                with self._lock:
                    if kind == 0x04 and length > 8000 and not self.turned:  # a P-DATA-TF full of pixels
                        self.turned = True
                        body[-1] ^= 1
                target.sendall(header + body)
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made, by this process and those it starts; nothing may be left of them."""
    for name, value in environment(TMPDIR=str(tmp_path), COLUMNS="200").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []
    assert processes_with("TMPDIR", str(tmp_path)) == []


def test_what_goes_wrong_is_noticed_and_named(
    scratch: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bit turned on the wire behind the gateway's back, and another one in Hospital B's archive."""
    with ExitStack() as stack:

        def turn_a_bit_on_the_wire(stage: Stage) -> None:
            """Somebody sits on the wire between the gateway and Hospital B."""
            corrupter = Corrupter(stage.outbound.port)
            stack.callback(corrupter.close)
            database = open_database(stage.gateway.settings)
            with database.write() as session:
                put_ae(session, ApplicationEntity(AE_B, HOSPITAL_B.oid, LOOPBACK, corrupter.port, (LOOPBACK,)))
            database.close()

        def turn_a_bit_in_the_archive(stage: Stage) -> None:
            """Somebody changes an image at Hospital B, one that arrived unharmed."""
            sent = stage.inbound.digests
            unharmed = next(uid for uid, digests in stage.outbound.digests.items() if digests == sent[uid])
            for instance_id in stage.b.instance_ids(stage.study_instance_uid):
                file = stage.b.download(instance_id)
                if unharmed.encode() in file:
                    auth = (stage.orthanc_b.username, stage.orthanc_b.password)
                    deleted = httpx.delete(f"{stage.orthanc_b.http_url}instances/{instance_id}", auth=auth)
                    assert deleted.is_success
                    stage.b.upload(file[:-1] + bytes([file[-1] ^ 1]))

        first, second, third, last = SCENES
        scenes = (turn_a_bit_on_the_wire, first, second, third, turn_a_bit_in_the_archive, last)
        monkeypatch.setattr("gateway.ops.demo.SCENES", scenes)
        shown = Typist(capsys, monkeypatch)("demo", "--instances", INSTANCES)

    assert shown.code == 1
    told = dict.fromkeys(claim.format(INSTANCES) for claim in CLAIMS[:-2])
    *held, wire, archives = summary(shown.out)
    assert held == [("yes", claim) for claim in told]
    assert wire == (
        "NO",
        f"on the wire, {INSTANCES - 1} of {INSTANCES} data sets left the gateway byte for byte as they came",
    )
    assert archives == (
        "NO",
        f"in the archives, {INSTANCES - 2} of {INSTANCES} images hold the same elements and pixels",
    )
    assert "10 of 12 checks held" in shown.out
    assert "2 did not hold." in shown.out
