"""The gateway with itself: its commands as senders, and one gateway as the destination of another."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.domain.peer import ApplicationEntity
from gateway.errors import AssociationRejected, ConnectFailed
from gateway.ops.counterparts import free_port
from gateway.ops.send import dicom_files, echo, send_files
from tests.interop.conftest import DIAL, MODALITY, TO_SINK, Exchange
from tests.interop.series import MADE_PATIENT, made, needs_real_files, sources
from tests.scp.raw import LOOPBACK
from tests.scp.sink import running_sink
from tests.scp.site import DESTINATION, GATEWAY, process_site
from tests.wait import wait_until

pytestmark = pytest.mark.interop


def gateway(*arguments: str | Path) -> tuple[int, dict[str, object]]:
    """Exit code and answer of one of the gateway's commands."""
    command = [sys.executable, "-m", "gateway", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60.0)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


def test_its_echo_command_reaches_it(exchange: Exchange) -> None:
    config = ["--config", exchange.site.node.config_file]

    code, answer = gateway("echo", f"{GATEWAY}@{LOOPBACK}:{exchange.port}", "--aet", MODALITY, *config)
    assert code == 0
    assert 0 < float(str(answer["seconds"])) < 5.0
    refused, _ = gateway("echo", f"{GATEWAY}@{LOOPBACK}:{exchange.port}", "--aet", "NOBODY", *config)
    assert refused != 0


def test_its_send_command_sends_a_folder(exchange: Exchange, tmp_path: Path) -> None:
    files = made(tmp_path / "series", 5)
    target = f"{TO_SINK}@{LOOPBACK}:{exchange.port}"

    config = ["--config", exchange.site.node.config_file]
    code, answer = gateway("send", target, tmp_path / "series", "--aet", MODALITY, *config)

    assert (code, answer["sent"], answer["of"]) == (0, 5, 5)
    wait_until(lambda: all(exchange.sink.count(file.sop_instance_uid) for file in files))
    assert all(exchange.sink.digests[file.sop_instance_uid] == {file.sha256} for file in files)


def test_its_sender_says_what_is_wrong(exchange: Exchange, tmp_path: Path) -> None:
    made(tmp_path, 1)
    with pytest.raises(AssociationRejected, match="called AE title not recognized"):
        send_files(ApplicationEntity("NOBODY", "", LOOPBACK, exchange.port), dicom_files([tmp_path]), DIAL)
    with pytest.raises(ConnectFailed, match="refused"):
        echo(ApplicationEntity(GATEWAY, "", LOOPBACK, free_port()), DIAL)


@needs_real_files
def test_through_two_gateways_every_byte_is_the_same(exchange: Exchange, tmp_path: Path) -> None:
    files = [*sources("mr_transfer_syntaxes"), *sources("mr_enhanced"), *made(tmp_path / "made", 10)]
    with running_sink() as sink, process_site(tmp_path / "second", sink.port) as second:
        second.ae(GATEWAY)
        second.route("on", DESTINATION, calling=GATEWAY)
        for patient_id in {file.patient_id for file in files} | {MADE_PATIENT}:
            second.consent(patient_id)
        exchange.add_destination(GATEWAY, second.port, "TO_SECOND")

        peer = ApplicationEntity("TO_SECOND", "", LOOPBACK, exchange.port)
        results = send_files(peer, dicom_files([file.path for file in files]), DIAL)

        assert all(result.delivered for result in results)
        wait_until(lambda: len(sink.digests) == len(files), 30.0)
        assert sink.digests == {file.sop_instance_uid: {file.sha256} for file in files}
