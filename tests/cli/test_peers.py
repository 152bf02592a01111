"""`gateway echo` and `gateway send`, to real peers: a gateway, DCMTK's storescp, and ports where nobody is."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.common import ExitCode
from gateway.ops.counterparts import StoreScp
from tests.cli.typed import HOSPITAL_A, Typist
from tests.ops.answering import answering
from tests.ops.files import CT_SMALL, part10, part10_ct
from tests.scp.raw import LOOPBACK, new_uid
from tests.scp.sink import Sink, running_sink
from tests.scp.site import CONSENTING, DESTINATION, SENDER, STRANGER, RunningSite, running_site, settings
from tests.wait import wait_until
from tests.wire.real_files import REAL_DATA, WHY_SKIPPED, opened


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink


@pytest.fixture(scope="module")
def site(sink: Sink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSite]:
    with running_site(settings(tmp_path_factory.mktemp("site")), sink.port) as site:
        yield site


@pytest.fixture(scope="module")
def storescp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreScp]:
    with StoreScp(scratch=tmp_path_factory.mktemp("storescp")) as storescp:
        yield storescp


@pytest.fixture
def gateway(site: RunningSite) -> tuple[str, ...]:
    """The running gateway as a peer, and who to call it as."""
    return f"GATEWAY@{LOOPBACK}:{site.port}", "--aet", SENDER


def refusing_port() -> int:
    """A port where nobody listens."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        return int(listener.getsockname()[1])


class TestEcho:
    def test_a_peer_that_answers(self, typed: Typist, gateway: tuple[str, ...]) -> None:
        assert typed.done("echo", *gateway).out.startswith(f"{gateway[0]} answered in ")
        answered = typed.done("echo", *gateway, "--json").json
        assert answered["peer"] == gateway[0]
        assert 0 < answered["seconds"] < 10

    def test_needs_no_settings(self, typed: Typist, folder: Path, gateway: tuple[str, ...]) -> None:
        (folder / "gateway.toml").unlink()
        typed.done("echo", *gateway)
        assert list(folder.iterdir()) == []

    def test_settings_that_are_named_must_be_there(self, typed: Typist, gateway: tuple[str, ...]) -> None:
        outcome = typed("echo", *gateway, "--config", "other.toml")
        assert (outcome.code, outcome.told.startswith("other.toml: no such file")) == (ExitCode.USAGE, True)

    def test_a_registered_peer_by_its_title(self, registered: Typist, site: RunningSite) -> None:
        registered.done("ae", "add", "GATEWAY", LOOPBACK, site.port, "--institution", HOSPITAL_A)
        registered.done("echo", "GATEWAY", "--aet", SENDER)

    def test_it_calls_by_the_title_of_the_node(self, typed: Typist, folder: Path, site: RunningSite) -> None:
        peer = f"GATEWAY@{LOOPBACK}:{site.port}"
        outcome = typed("echo", peer)
        assert outcome.code == ExitCode.UNREACHABLE
        assert outcome.told.startswith(f"{peer} rejected the association: ")
        assert outcome.told.endswith("calling AE title not recognized")
        (folder / "gateway.toml").write_text(f'delivery.calling_ae_title = "{SENDER}"\n')
        typed.done("echo", peer)

    def test_nobody_there(self, typed: Typist) -> None:
        peer = f"PACS@{LOOPBACK}:{refusing_port()}"
        outcome = typed("echo", peer, "--json")
        assert outcome.code == ExitCode.UNREACHABLE
        assert outcome.told == f"cannot connect to {peer}: Connection refused; check host, port and that it is running"

    def test_a_name_nobody_has(self, typed: Typist) -> None:
        outcome = typed("echo", "PACS@no-such-host.invalid:104")
        assert outcome.code == ExitCode.UNREACHABLE
        assert outcome.told.startswith("cannot connect to PACS@no-such-host.invalid:104: ")

    def test_one_that_does_not_speak_dicom(self, typed: Typist) -> None:
        with socket.create_server((LOOPBACK, 0)) as listener:
            listener.settimeout(0)
            (port,) = listener.getsockname()[1:2]
            typed_settings = ("--config", "quick.toml")
            Path("quick.toml").write_text("delivery.associate_timeout_s = 0.2\n")
            outcome = typed("echo", f"PACS@{LOOPBACK}:{port}", *typed_settings)
        assert outcome.code == ExitCode.UNREACHABLE
        assert f"PACS@{LOOPBACK}:{port}" in outcome.told

    @pytest.mark.parametrize("verb", ["echo", "send"])
    def test_one_that_speaks_something_else(self, typed: Typist, folder: Path, verb: str) -> None:
        part10_ct(folder / "1.dcm", "P1")
        with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as peer:
            outcome = typed(verb, str(peer), *(["1.dcm"] if verb == "send" else []), "--json")
        assert outcome.code == ExitCode.FAILED
        assert outcome.told.startswith(f"{peer} does not speak DICOM as it should: ")

    def test_a_title_that_is_not_registered(self, registered: Typist) -> None:
        outcome = registered("echo", "NOBODY")
        assert outcome.code == ExitCode.USAGE
        assert outcome.told == (
            "AE title NOBODY is not registered; name it as TITLE@HOST:PORT or register it with `gateway ae add`"
        )

    @pytest.mark.parametrize(
        "peer",
        [
            "PACS@host", "PACS@:104", "PACS@host:", "PACS@host:x", "PACS@host:²", "PACS@host:0", "PACS@host:65536",
            "PACS@host:" + "9" * 5000, "@host:104", "SEVENTEEN_LETTERS@host:104", "PACS@a b:104", "PACS@[::1:104",
            "PACS@" + "x" * 5000 + ":104", "P\\S@host:104", "",
        ],
    )  # fmt: skip
    def test_what_is_no_peer(self, typed: Typist, peer: str) -> None:
        outcome = typed("echo", peer)
        assert outcome.code == ExitCode.USAGE
        assert "expected" in outcome.told

    def test_a_title_with_an_at_sign(self, typed: Typist) -> None:
        outcome = typed("echo", f"A@B@{LOOPBACK}:{refusing_port()}")
        assert outcome.told.startswith(f"cannot connect to A@B@{LOOPBACK}:")

    def test_a_calling_title_that_is_none(self, typed: Typist, site: RunningSite) -> None:
        outcome = typed("echo", f"GATEWAY@{LOOPBACK}:{site.port}", "--aet", "SEVENTEEN_LETTERS")
        assert (outcome.code, outcome.told.startswith("AE title: expected")) == (ExitCode.USAGE, True)


class TestSendToAGateway:
    def test_all_of_it(
        self, typed: Typist, folder: Path, gateway: tuple[str, ...], site: RunningSite, sink: Sink
    ) -> None:
        files = [part10_ct(folder / f"{number}.dcm", CONSENTING) for number in range(3)]
        sent = typed.done("send", *gateway, folder, "--json").json
        assert sent == {"peer": gateway[0], "sent": 3, "of": 3, "failures": []}
        wait_until(lambda: sink.digests.keys() >= {file.uid for file in files})
        wait_until(site.settled)
        assert [sink.digests[file.uid] for file in files] == [{file.sha256} for file in files]
        own = folder / "own.toml"
        own.write_text(f'node.state_dir = "{site.settings.node.state_dir}"\n')
        (destination,) = typed.done("status", "--config", own, "--json").json["destinations"]
        assert destination["ae_title"] == DESTINATION
        assert destination["deliveries"]["COMPLETED"] >= 3

    def test_in_words(self, typed: Typist, folder: Path, gateway: tuple[str, ...]) -> None:
        part10_ct(folder / "1.dcm", CONSENTING)
        assert typed.done("send", *gateway, "1.dcm").out.endswith(f"1 of 1 instances accepted by {gateway[0]}.\n")

    def test_all_denied(self, typed: Typist, folder: Path, gateway: tuple[str, ...], sink: Sink) -> None:
        files = [part10_ct(folder / f"{number}.dcm", STRANGER) for number in range(2)]
        outcome = typed("send", *gateway, folder)
        assert outcome.code == ExitCode.DENIED
        assert "0 of 2 instances accepted" in outcome.out
        assert outcome.err == "  Not authorized (0x0124)\n"
        denied = typed("send", *gateway, folder, "--json")
        assert denied.code == ExitCode.DENIED
        assert denied.json["failures"] == [
            {"file": f"{number}.dcm", "status": 0x0124, "detail": "Not authorized (0x0124)"} for number in range(2)
        ]
        assert not [file for file in files if sink.count(file.uid)]

    def test_some_denied(self, typed: Typist, folder: Path, gateway: tuple[str, ...]) -> None:
        part10_ct(folder / "a.dcm", STRANGER)
        part10_ct(folder / "b.dcm", CONSENTING)
        outcome = typed("send", *gateway, folder, "--json")
        assert outcome.code == ExitCode.PARTIAL
        assert (outcome.json["sent"], [failure["file"] for failure in outcome.json["failures"]]) == (1, ["a.dcm"])

    def test_nothing_of_it_can_be_used(self, typed: Typist, folder: Path, gateway: tuple[str, ...]) -> None:
        """Denied and failed for another reason: trying again may help with one of them."""
        part10_ct(folder / "a.dcm", STRANGER)
        part10_ct(folder / "b.dcm", "")
        outcome = typed("send", *gateway, folder, "--json")
        assert outcome.code == ExitCode.FAILED
        assert [failure["status"] for failure in outcome.json["failures"]] == [0x0124, 0xC000]

    def test_nobody_there(self, typed: Typist, folder: Path) -> None:
        part10_ct(folder / "1.dcm", CONSENTING)
        outcome = typed("send", f"PACS@{LOOPBACK}:{refusing_port()}", "1.dcm", "--json")
        assert outcome.code == ExitCode.UNREACHABLE
        assert "Connection refused" in outcome.told


class TestWhatToSend:
    def test_a_named_file_has_to_be_dicom(self, typed: Typist, folder: Path, gateway: tuple[str, ...]) -> None:
        part10_ct(folder / "1.dcm", CONSENTING)
        (folder / "readme.txt").write_text("hello")
        outcome = typed("send", *gateway, "1.dcm", "readme.txt")
        assert (outcome.code, outcome.told) == (ExitCode.USAGE, "readme.txt: not a DICOM file")

    def test_a_folder_may_hold_other_things(self, typed: Typist, folder: Path, gateway: tuple[str, ...]) -> None:
        """Text, nothing, a DICOMDIR, a link to nowhere, a socket: as on a disc that was copied."""
        deep = folder / "IMAGES" / "한글"
        deep.mkdir(parents=True)
        part10_ct(deep / "IM1", CONSENTING)
        (folder / "LICENSE").write_text("free" * 100)
        (folder / "empty").write_bytes(b"")
        (folder / "DICOMDIR").write_bytes(part10(b"\x02\x00", sop_class="1.2.840.10008.1.3.10"))
        (folder / "link").symlink_to("nowhere")
        (folder / "loop").symlink_to(folder)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
            sent = typed.done("send", *gateway, folder, "--json").json
        assert (sent["sent"], sent["of"]) == (1, 1)

    def test_a_folder_without_any(self, typed: Typist, folder: Path, gateway: tuple[str, ...]) -> None:
        outcome = typed("send", *gateway, folder)
        assert (outcome.code, outcome.told) == (ExitCode.USAGE, "no DICOM files there that could be sent")

    def test_a_path_that_is_not_there(self, typed: Typist, gateway: tuple[str, ...]) -> None:
        outcome = typed("send", *gateway, "nothing")
        assert (outcome.code, outcome.out) == (ExitCode.USAGE, "")
        assert "does not exist" in outcome.err

    def test_a_name_that_is_no_text(self, typed: Typist, folder: Path, gateway: tuple[str, ...]) -> None:
        part10_ct(folder / "\udcff.dcm", STRANGER)
        outcome = typed("send", *gateway, folder, "--json")
        assert (outcome.code, outcome.json["failures"][0]["file"]) == (ExitCode.DENIED, "\udcff.dcm")


@pytest.mark.needs("dcmtk")
class TestSendToStorescp:
    """The data set that arrives is the one in the file, bit by bit."""

    def sent(self, typed: Typist, storescp: StoreScp, *paths: Path) -> list[Path]:
        """What storescp has after these files were sent."""
        for path in storescp.files():
            path.unlink()
        outcome = typed.done("send", f"STORESCP@{LOOPBACK}:{storescp.port}", *paths, "--json").json
        assert outcome["sent"] == outcome["of"] == len(storescp.files())
        return storescp.files()

    def test_real_files_in_every_transfer_syntax(self, typed: Typist, folder: Path, storescp: StoreScp) -> None:
        sources = [
            *sorted((REAL_DATA / "mr_transfer_syntaxes").rglob("*.dcm")),
            *sorted((REAL_DATA / "ct_head_ge").rglob("*.dcm"))[:2],
            *sorted((REAL_DATA / "mr_t1_head").rglob("*.dcm"))[:2],
            *sorted((REAL_DATA / "mr_enhanced").rglob("*.dcm"))[:1],
        ]
        if not sources:
            pytest.skip(WHY_SKIPPED)
        expected = {}
        for path in sources:
            instance = opened(path)
            assert instance is not None
            expected[instance.data_set] = instance.transfer_syntax
        received = [opened(path) for path in self.sent(typed, storescp, *sources)]
        assert {one.data_set: one.transfer_syntax for one in received if one} == expected
        assert len(set(expected.values())) >= 7

    @pytest.mark.parametrize(
        "variant", ["as it is", "group length too short", "group length too long", "no group length", "odd UIDs"]
    )
    def test_meta_information_written_badly(
        self, typed: Typist, folder: Path, storescp: StoreScp, variant: str
    ) -> None:
        instance = opened(CT_SMALL)
        assert instance is not None
        options = {
            "as it is": {},
            "group length too short": {"group_length": 4},
            "group length too long": {"group_length": 5_000},
            "no group length": {"group_length": None},
            "odd UIDs": {"padded": False, "extra": True},
        }[variant]
        uid = str(instance.read.SOPInstanceUID)
        (folder / "odd.dcm").write_bytes(part10(instance.data_set, sop_instance=uid, **options))
        (arrived,) = self.sent(typed, storescp, folder / "odd.dcm")
        received = opened(arrived)
        assert received is not None
        assert received.data_set == instance.data_set

    def test_a_peer_that_takes_one_of_two(self, typed: Typist, folder: Path, tmp_path: Path) -> None:
        """An old one, without compression."""
        part10_ct(folder / "plain.dcm", CONSENTING)
        compressed = part10(b"\x08\x00\x05\x00CS\x00\x00", sop_instance=new_uid(), syntax="1.2.840.10008.1.2.4.70")
        (folder / "compressed.dcm").write_bytes(compressed)
        with StoreScp("OLD", "+x=", scratch=tmp_path) as old:
            outcome = typed("send", f"OLD@{LOOPBACK}:{old.port}", "plain.dcm", "compressed.dcm", "--json")
        assert outcome.code == ExitCode.PARTIAL
        assert outcome.json["failures"] == [
            {
                "file": "compressed.dcm",
                "status": None,
                "detail": "not sent: the peer does not accept its SOP class in its transfer syntax",
            }
        ]
