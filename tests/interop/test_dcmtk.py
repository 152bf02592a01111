"""Stock DCMTK as sender and as destination."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import dcmread

from gateway.domain.peer import ApplicationEntity
from gateway.ops.counterparts import StoreScp, run_tool
from gateway.ops.send import dicom_files, echo, send_files
from tests.interop.conftest import DIAL, MODALITY, TO_DCMTK, TO_SINK, Exchange
from tests.interop.series import Source, made, needs_real_files, source, sources, under_new_uid
from tests.scp.raw import IMPLICIT, LOOPBACK
from tests.scp.sink import Sink, running_sink
from tests.scp.site import DESTINATION, GATEWAY
from tests.wait import wait_until

pytestmark = [pytest.mark.needs("dcmtk"), pytest.mark.interop]

SYNTAX_OPTIONS = ("-x=", "-xe", "-xb", "-xi", "-xs", "-xv", "-xt", "-xr")
"""What storescu may be told to propose: uncompressed in each order, JPEG, JPEG 2000, JPEG-LS, RLE."""


@pytest.fixture(scope="module")
def direct() -> Iterator[Sink]:
    """A destination that storescu sends to without a gateway in between: what it makes of each file."""
    with running_sink() as sink:
        yield sink


def storescu(port: int, called: str, *files: Path, options: tuple[str, ...] = ()) -> int:
    """Exit code of stock storescu; it is 0 only when every instance was accepted."""
    arguments = ["-aet", MODALITY, "-aec", called, *options, LOOPBACK, str(port), *files]
    return run_tool("storescu", *arguments).returncode


def went_through(exchange: Exchange, direct: Sink, uids: set[str]) -> bool:
    """Whether the gateway's destination has of each instance what storescu sends when it sends there itself."""
    wait_until(lambda: uids <= exchange.sink.digests.keys(), timeout_s=30.0)
    return all(exchange.sink.digests[uid] == direct.digests[uid] for uid in uids)


def uids(files: list[Source]) -> set[str]:
    return {file.sop_instance_uid for file in files}


def test_echoscu(exchange: Exchange) -> None:
    assert run_tool("echoscu", "-aet", MODALITY, "-aec", GATEWAY, LOOPBACK, str(exchange.port)).returncode == 0
    assert run_tool("echoscu", "-aet", MODALITY, "-aec", TO_SINK, LOOPBACK, str(exchange.port)).returncode == 0


def test_echoscu_is_told_when_it_is_not_welcome(exchange: Exchange) -> None:
    stranger = run_tool("echoscu", "-aet", "NOBODY", "-aec", GATEWAY, LOOPBACK, str(exchange.port))
    wrong = run_tool("echoscu", "-aet", MODALITY, "-aec", "NOBODY", LOOPBACK, str(exchange.port))

    assert stranger.returncode != 0
    assert "Calling AE Title Not Recognized" in stranger.stderr
    assert wrong.returncode != 0
    assert "Called AE Title Not Recognized" in wrong.stderr


def test_one_file_and_a_folder_of_folders(exchange: Exchange, direct: Sink, tmp_path: Path) -> None:
    files = made(tmp_path / "a", 3) + made(tmp_path / "a" / "b", 2) + made(tmp_path / "a" / "b" / "c", 2, IMPLICIT)
    for port, called in ((direct.port, DESTINATION), (exchange.port, TO_SINK)):
        assert storescu(port, called, files[0].path) == 0
        assert storescu(port, called, tmp_path / "a", options=("+sd", "+r")) == 0

    assert went_through(exchange, direct, uids(files))


def test_a_refusal_is_said_and_the_association_can_go_on(exchange: Exchange, tmp_path: Path) -> None:
    files = made(tmp_path, 2)
    image = dcmread(files[0].path)
    image.PatientID = "NOT-CONSENTING"
    image.save_as(files[0].path)
    arguments = ["-v", "-aet", MODALITY, "-aec", TO_SINK, "+sd", LOOPBACK, str(exchange.port), tmp_path]

    halted, went_on = run_tool("storescu", *arguments), run_tool("storescu", "-nh", *arguments)

    assert halted.returncode != 0
    assert "0x124" in halted.stderr
    assert went_on.stderr.count("0x124") == went_on.stderr.count("Success") == 1
    wait_until(lambda: exchange.sink.count(files[1].sop_instance_uid))
    assert exchange.sink.count(files[0].sop_instance_uid) == 0


@needs_real_files
@pytest.mark.parametrize("option", SYNTAX_OPTIONS)
def test_every_transfer_syntax_storescu_proposes(exchange: Exchange, direct: Sink, tmp_path: Path, option: str) -> None:
    files = [under_new_uid(file, tmp_path) for file in sources("mr_transfer_syntaxes")]
    paths = [file.path for file in files]
    code = storescu(direct.port, DESTINATION, *paths, options=(option, "-nh"))  # goes on where it cannot convert

    assert storescu(exchange.port, TO_SINK, *paths, options=(option, "-nh")) == code
    sent = {received.sop_instance_uid: received.transfer_syntax for received in direct.received}
    taken = uids(files) & sent.keys()
    assert taken
    assert went_through(exchange, direct, taken)
    through = {received.sop_instance_uid: received.transfer_syntax for received in exchange.sink.received}
    assert {uid: through[uid] for uid in taken} == {uid: sent[uid] for uid in taken}


@needs_real_files
@pytest.mark.parametrize(("folder", "count"), [("ct_head_ge", 28), ("mr_enhanced", 5), ("mr_t1_head", 24)])
def test_real_series(exchange: Exchange, direct: Sink, tmp_path: Path, folder: str, count: int) -> None:
    files = [under_new_uid(file, tmp_path) for file in sources(folder, count)]
    for port, called in ((direct.port, DESTINATION), (exchange.port, TO_SINK)):
        assert storescu(port, called, *[file.path for file in files]) == 0

    assert went_through(exchange, direct, uids(files))


def test_eight_senders_at_once(exchange: Exchange, direct: Sink, tmp_path: Path) -> None:
    series = [made(tmp_path / str(number), 12) for number in range(8)]
    for number in range(8):
        assert storescu(direct.port, DESTINATION, *[file.path for file in series[number]]) == 0
    with ThreadPoolExecutor(8) as pool:
        codes = pool.map(lambda files: storescu(exchange.port, TO_SINK, *[file.path for file in files]), series)

    assert list(codes) == [0] * 8
    assert went_through(exchange, direct, {file.sop_instance_uid for files in series for file in files})


# --- as destination ---------------------------------------------------------------------------------------------------


def kept(storescp: StoreScp) -> dict[str, tuple[str, str]]:
    """Transfer syntax and digest of what storescp keeps, by SOP Instance UID; it keeps data sets bit by bit."""
    files = [source(path) for path in storescp.files()]
    return {file.sop_instance_uid: (file.transfer_syntax, file.sha256) for file in files}


def as_kept(files: list[Source]) -> dict[str, tuple[str, str]]:
    return {file.sop_instance_uid: (file.transfer_syntax, file.sha256) for file in files}


@needs_real_files
@pytest.mark.parametrize("folder", ["mr_transfer_syntaxes", "mr_enhanced", "ct_head_ge"])
def test_the_bytes_of_the_files_come_out_at_storescp(
    exchange: Exchange, storescp: StoreScp, tmp_path: Path, folder: str
) -> None:
    """From our own sender, which sends files as they are, through the gateway, to storescp, which keeps them so."""
    files = [under_new_uid(file, tmp_path) for file in sources(folder)]
    results = send_files(
        ApplicationEntity(TO_DCMTK, "", LOOPBACK, exchange.port), dicom_files([file.path for file in files]), DIAL
    )

    assert [result.status for result in results] == [0] * len(files)
    expected = as_kept(files)
    exchange.site.wait_until_settled(60.0)
    assert {uid: found for uid, found in kept(storescp).items() if uid in expected} == expected


def test_our_own_echo_and_send_reach_storescp_directly(storescp: StoreScp, tmp_path: Path) -> None:
    files = made(tmp_path, 3)
    peer = ApplicationEntity("STORESCP", "", LOOPBACK, storescp.port)

    assert echo(peer, DIAL) < 5.0
    assert [result.status for result in send_files(peer, dicom_files([tmp_path]), DIAL)] == [0] * 3
    assert as_kept(files).items() <= kept(storescp).items()
