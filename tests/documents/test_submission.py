"""Each field is checked, and named when it is refused."""

from pathlib import Path

import pytest

from gateway.documents.blobs import BlobStore, BlobWriter
from gateway.documents.submission import ATTACHABLE, TITLE_LIMIT_CHARACTERS, Submission
from gateway.domain.access import Role
from gateway.domain.document import DocumentType, MediaType
from gateway.domain.person import PatientKey
from gateway.errors import DocumentRejected
from tests.documents.node import CDA, PDF

OID = "1.2.410.100110.10.12345678"
RESIDENT_NUMBERS = [
    "900101-1234567",
    "9001011234567",
    "900101 1234567",
    "９００１０１－１２３４５６７",
    "홍 900101-1234567 씨",
]


def submission(**fields: str) -> Submission:
    return Submission("1.2.3", DocumentType.REFERRAL, **fields)


@pytest.fixture
def content(tmp_path: Path) -> BlobWriter:
    writer = BlobStore(tmp_path).writer()
    writer.write(PDF)
    return writer


def test_a_title_is_kept_as_given() -> None:
    assert submission(title="  흉부 CT 의뢰 (추적) ").checked_title() == "흉부 CT 의뢰 (추적)"


@pytest.mark.parametrize("kind", DocumentType)
def test_without_a_title_the_type_is_the_title(kind: DocumentType) -> None:
    assert Submission("1.2.3", kind, title=" ").checked_title() == kind.korean


@pytest.mark.parametrize(
    "title",
    [
        "x" * (TITLE_LIMIT_CHARACTERS + 1),
        "two\nlines",
        "nul\0",
        "\x1b[31mred",
        "gpj.\u202efdp",
        "a\u2066b",
        "zero\u200bwidth",
        "line\u2028separator",
        "private\ue000",
        *RESIDENT_NUMBERS,
    ],
)
def test_titles_that_are_refused(title: str) -> None:
    with pytest.raises(DocumentRejected) as refused:
        submission(title=title).checked_title()

    assert refused.value.field == "title"
    assert title not in str(refused.value)


def test_a_title_at_the_limit() -> None:
    assert submission(title="가" * TITLE_LIMIT_CHARACTERS).checked_title() == "가" * TITLE_LIMIT_CHARACTERS


def test_a_patient_is_qualified_by_the_institution() -> None:
    assert submission(patient_id=" 123 ").checked_patient(OID) == PatientKey(OID, "123")
    assert submission().checked_patient(OID) is None
    assert submission(patient_id="  ").checked_patient(OID) is None


@pytest.mark.parametrize("patient_id", ["x" * 65, "a\\b", "a\x07b", *RESIDENT_NUMBERS])
def test_patients_that_are_refused(patient_id: str) -> None:
    with pytest.raises(DocumentRejected) as refused:
        submission(patient_id=patient_id).checked_patient(OID)

    assert refused.value.field == "patient_id"
    assert patient_id not in str(refused.value)


def test_the_content_says_what_it_is(content: BlobWriter) -> None:
    assert submission().checked_media_type(content) is MediaType.PDF
    assert submission(media_type="application/pdf").checked_media_type(content) is MediaType.PDF
    assert submission(file_name="../../../etc/passwd").checked_media_type(content) is MediaType.PDF


def test_the_sender_may_not_say_otherwise(content: BlobWriter) -> None:
    with pytest.raises(DocumentRejected, match="Content-Type") as refused:
        submission(media_type="text/xml").checked_media_type(content)

    assert refused.value.field == "file"


@pytest.mark.parametrize("file_name", RESIDENT_NUMBERS)
def test_names_of_files_that_are_refused(content: BlobWriter, file_name: str) -> None:
    with pytest.raises(DocumentRejected) as refused:
        submission(file_name=f"{file_name}.pdf").checked_media_type(content)

    assert refused.value.field == "file"
    assert file_name not in str(refused.value)


@pytest.mark.parametrize("bytes_", [b"", b"GIF89a", PDF[:-8], CDA.rstrip()[:-1]])
def test_contents_that_are_refused(tmp_path: Path, bytes_: bytes) -> None:
    writer = BlobStore(tmp_path).writer()
    writer.write(bytes_)
    with pytest.raises(DocumentRejected) as refused:
        submission().checked_media_type(writer)

    assert refused.value.field == "file"


def test_who_may_hand_in_what() -> None:
    assert ATTACHABLE[Role.CLINICIAN] == set(DocumentType)
    assert ATTACHABLE[Role.DESK] == {DocumentType.CONSENT, DocumentType.CONSENT_WITHDRAWAL}
    assert set(ATTACHABLE) == {Role.CLINICIAN, Role.DESK}
