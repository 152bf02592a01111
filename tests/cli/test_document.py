"""`gateway document`: attached, listed and fetched under the same decision as over REST."""

import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.app.parts import open_database
from gateway.cli.common import ExitCode
from gateway.cli.document import copy_out
from gateway.config import load
from gateway.consent.forms import FormKind
from gateway.domain.person import PatientKey
from gateway.store.tables import DecisionRow
from tests.cli.typed import HOSPITAL_A, HOSPITAL_B, RESIDENT_NUMBER, Typist
from tests.documents.node import CDA, PDF, clinician, running_node

STUDY = "1.2.840.1"
OF_STUDY = ("--study", STUDY)
BY_A, BY_B = ("--institution", HOSPITAL_A, *OF_STUDY), ("--institution", HOSPITAL_B, *OF_STUDY)
ATTACH = (*BY_A, "--type", "referral", "--patient", "P1")
PATIENT = ("--institution", HOSPITAL_A, "--patient", "P1")


@pytest.fixture
def letter(folder: Path) -> Path:
    path = folder / "letter.pdf"
    path.write_bytes(PDF)
    return path


@pytest.fixture
def consented(registered: Typist) -> Typist:
    registered.done("consent", "register", *PATIENT)
    return registered


@contextmanager
def files_limited_to(count: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> list[Path]:
    """Every content the node keeps, whole or not."""
    return [path for path in (folder / "state" / "blobs").rglob("*") if path.is_file()]


class TestAdd:
    def test_a_pdf(self, registered: Typist, letter: Path) -> None:
        added = registered.done("document", "add", letter, *ATTACH, "--json").json
        assert added["sha256"] == hashlib.sha256(PDF).hexdigest()
        assert (added["type"], added["media_type"], added["size_bytes"]) == ("REFERRAL", "application/pdf", len(PDF))
        assert added["author_oid"] == HOSPITAL_A

    def test_a_cda_document_in_words(self, registered: Typist, folder: Path) -> None:
        (folder / "letter.xml").write_bytes(CDA)
        out = registered.done("document", "add", "letter.xml", *ATTACH, "--title", "소견").out
        assert out.startswith("Attached REFERRAL ")
        assert hashlib.sha256(CDA).hexdigest() in out
        (listed,) = registered.done("document", "list", *BY_A, "--json").json
        assert listed["title"] == "소견"

    @pytest.mark.parametrize("content", [b"", b"hello", PDF[:20], b"\x00" * 100_000])
    def test_what_is_no_document(self, registered: Typist, folder: Path, content: bytes) -> None:
        (folder / "x.pdf").write_bytes(content)
        outcome = registered("document", "add", "x.pdf", *ATTACH)
        assert outcome.code == 2
        assert outcome.told.startswith("file: ")
        assert contents(folder) == []

    def test_a_file_that_is_not_there(self, registered: Typist) -> None:
        outcome = registered("document", "add", "none.pdf", *ATTACH)
        assert (outcome.code, outcome.out) == (2, "")
        assert "FILE" in outcome.err
        assert "does not exist" in outcome.err

    def test_larger_than_the_limit(self, registered: Typist, folder: Path) -> None:
        (folder / "gateway.toml").write_text("[documents]\nlimit_bytes = 1024\n")
        (folder / "big.pdf").write_bytes(PDF.ljust(1025, b"\n"))
        outcome = registered("document", "add", "big.pdf", *ATTACH)
        assert (outcome.code, outcome.told) == (2, "big.pdf: larger than documents.limit_bytes (1024)")
        assert contents(folder) == []

    def test_a_file_without_end(self, registered: Typist, folder: Path) -> None:
        """Its size says zero; the limit holds while it is read."""
        (folder / "gateway.toml").write_text("[documents]\nlimit_bytes = 3000000\n")
        outcome = registered("document", "add", "/dev/zero", *ATTACH)
        assert (outcome.code, outcome.told) == (2, "zero: larger than documents.limit_bytes (3000000)")
        assert contents(folder) == []

    def test_a_file_that_cannot_be_read_to_its_end(self, registered: Typist, folder: Path) -> None:
        outcome = registered("document", "add", "/proc/self/mem", *ATTACH)
        assert outcome.code == 2
        assert outcome.told.startswith("mem: cannot be read: ")
        assert contents(folder) == []

    def test_the_patient_is_needed_while_the_study_is_not_known(self, registered: Typist, letter: Path) -> None:
        outcome = registered("document", "add", letter, *BY_A, "--type", "REFERRAL")
        assert (outcome.code, outcome.told) == (2, "patient_id: expected your institution's id of the patient")

    def test_an_institution_that_is_not_registered(self, registered: Typist, letter: Path) -> None:
        outcome = registered(
            *("document", "add", letter, "--institution", "1.2.3", *OF_STUDY, "--type", "REFERRAL", "--patient", "P1")
        )
        assert outcome.code == 2
        assert "institution" in outcome.told

    @pytest.mark.parametrize("place", ["title", "patient", "file"])
    def test_a_resident_registration_number_is_kept_nowhere(
        self, registered: Typist, folder: Path, letter: Path, place: str
    ) -> None:
        file = letter.rename(folder / f"{RESIDENT_NUMBER}.pdf") if place == "file" else letter
        given = {"--title": "letter", "--patient": "P1"}
        if place != "file":
            given[f"--{place}"] = RESIDENT_NUMBER
        options = [part for option in given.items() for part in option]
        outcome = registered("document", "add", file, *BY_A, "--type", "REFERRAL", *options)
        assert outcome.code == 2
        assert "resident registration number" in outcome.told
        assert RESIDENT_NUMBER not in outcome.err
        assert contents(folder) == []


class TestList:
    def test_only_what_may_be_disclosed(self, registered: Typist, letter: Path) -> None:
        added = registered.done("document", "add", letter, *ATTACH, "--json").json
        assert registered.done("document", "list", *BY_A, "--json").json == [added]
        assert registered.done("document", "list", *BY_B, "--json").json == []
        assert registered.done("document", "list", *BY_B).out.startswith("None, or none that may be disclosed")
        registered.done("consent", "register", *PATIENT)
        assert registered.done("document", "list", *BY_B, "--json").json == [added]
        assert added["id"] in registered.done("document", "list", *BY_B).out


@pytest.mark.parametrize("study", ["../..", "", "1.2.", "1" * 65, "x" * 10_000, "\udcff", "1.2\n"])
@pytest.mark.parametrize("verb", ["add", "list", "get"])
def test_what_is_no_study(registered: Typist, letter: Path, verb: str, study: str) -> None:
    rest = {
        "add": (letter, "--type", "REFERRAL", "--patient", "P1"),
        "list": ("--json",),
        "get": ("0" * 32, "--output", "copy.pdf"),
    }
    outcome = registered("document", verb, "--institution", HOSPITAL_A, "--study", study, *rest[verb])
    assert outcome.code == 2
    assert outcome.told.startswith("--study: expected a Study Instance UID")


class TestGet:
    def test_the_very_bytes(self, consented: Typist, letter: Path, folder: Path) -> None:
        added = consented.done("document", "add", letter, *ATTACH, "--json").json
        out = consented.done("document", "get", added["id"], *BY_B, "-o", "copy.pdf").out
        assert out == f"Wrote {len(PDF)} bytes to copy.pdf.\n"
        assert (folder / "copy.pdf").read_bytes() == PDF
        got = consented.done("document", "get", added["id"], *BY_B, "--output", "copy2.pdf", "--json").json
        assert got == {"file": "copy2.pdf", "size_bytes": len(PDF)}

    def test_denied_and_absent_are_the_same(self, registered: Typist, letter: Path, folder: Path) -> None:
        added = registered.done("document", "add", letter, *ATTACH, "--json").json
        denied = registered("document", "get", added["id"], *BY_B, "-o", "copy.pdf")
        absent = registered("document", "get", "0" * 32, *BY_B, "-o", "copy.pdf")
        assert denied == absent
        assert denied.code == ExitCode.DENIED
        assert denied.told == "There is no such document, or it may not be disclosed to this institution."
        assert not (folder / "copy.pdf").exists()

    def test_each_release_is_on_record(self, consented: Typist, letter: Path, folder: Path) -> None:
        added = consented.done("document", "add", letter, *ATTACH, "--json").json
        consented.done("document", "get", added["id"], *BY_B, "-o", "copy.pdf")
        database = open_database(load(folder / "gateway.toml", environ={}))
        with database.read() as session:
            assert [row.outcome for row in session.query(DecisionRow).filter_by(document_id=added["id"])] == ["PERMIT"]
        database.close()

    @pytest.mark.parametrize(
        ("output", "expected"),
        [
            ("there.pdf", "there.pdf exists; choose another name"),
            ("none/copy.pdf", "none/copy.pdf: cannot be written: No such file or directory"),
            (".", ". exists; choose another name"),
            ("x" * 300, f"{'x' * 300}: cannot be written: File name too long"),
        ],
    )
    def test_where_it_cannot_be_written(
        self, consented: Typist, letter: Path, folder: Path, output: str, expected: str
    ) -> None:
        added = consented.done("document", "add", letter, *ATTACH, "--json").json
        (folder / "there.pdf").write_text("mine")
        outcome = consented("document", "get", added["id"], *BY_B, "-o", output)
        assert (outcome.code, outcome.told) == (2, expected)
        assert (folder / "there.pdf").read_text() == "mine"

    def test_a_full_disk_leaves_nothing(self, consented: Typist, letter: Path, folder: Path) -> None:
        letter.write_bytes(PDF[:9] + b"\n" * 2_000_000 + PDF[9:])
        added = consented.done("document", "add", letter, *ATTACH, "--json").json
        with files_limited_to(1_000_000):
            outcome = consented("document", "get", added["id"], *BY_B, "-o", "copy.pdf")
        assert (outcome.code, outcome.told) == (2, "copy.pdf: cannot be written: File too large")
        assert not (folder / "copy.pdf").exists()

    def test_a_withdrawal_meanwhile_leaves_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with running_node(tmp_path) as node:
            patient = PatientKey(node.institution(), "P1")
            reader = clinician(node.institution())
            node.register(patient, FormKind.ENTIRE_CONSENT)
            study = node.study(patient)
            document = node.attach(clinician(patient.issuer_oid), study)
            release = node.documents.open(reader, study, document.id)
            assert release is not None
            node.register(patient, FormKind.ENTIRE_WITHDRAWAL)
            with pytest.raises(SystemExit) as ended:
                copy_out(release, tmp_path / "copy.pdf")
            release.close()
        assert ended.value.code == ExitCode.DENIED
        assert "nothing was kept" in capsys.readouterr().err
        assert not (tmp_path / "copy.pdf").exists()

    def test_a_content_that_was_damaged(self, consented: Typist, letter: Path, folder: Path) -> None:
        added = consented.done("document", "add", letter, *ATTACH, "--json").json
        (content,) = contents(folder)
        content.write_bytes(PDF[:-1])
        outcome = consented("document", "get", added["id"], *BY_B, "-o", "copy.pdf")
        assert outcome.code == 1
        assert "is damaged" in outcome.told
        content.unlink()
        assert consented("document", "get", added["id"], *BY_B, "-o", "copy.pdf").code == 1
        assert not (folder / "copy.pdf").exists()
