"""Whose document it is, who may hand it in, and that it is kept."""

import hashlib
from pathlib import Path

import pytest

from gateway.consent.forms import FormKind
from gateway.documents.submission import Submission
from gateway.domain.access import Caller, Role
from gateway.domain.document import DocumentType, MediaType
from gateway.domain.institution import ParticipationState
from gateway.domain.person import PatientKey
from gateway.errors import DocumentRejected, NotPermitted
from gateway.store.documents import find_document
from tests.documents.node import CDA, PDF, Node, new_patient_id, new_uid


def parts(node: Node) -> list[Path]:
    return list((node.directory / "blobs" / "part").iterdir())


def test_a_document_of_an_own_study(node: Node, a: Caller, patient: PatientKey) -> None:
    study = node.study(patient)
    document = node.attach(a, study, title="의뢰서")

    assert document.patient == patient
    assert document.author_oid == a.institution_oid
    assert (document.title, document.type, document.media_type) == ("의뢰서", DocumentType.REFERRAL, MediaType.PDF)
    assert (document.size_bytes, document.sha256) == (len(PDF), hashlib.sha256(PDF).hexdigest())
    with node.database.read() as session:
        assert find_document(session, study, document.id) == document
    assert parts(node) == []


def test_xml_is_kept_as_xml(node: Node, a: Caller, patient: PatientKey) -> None:
    assert node.attach(a, node.study(patient), CDA).media_type is MediaType.XML


def test_the_same_bytes_twice_are_two_documents(node: Node, a: Caller, patient: PatientKey) -> None:
    study = node.study(patient)
    first, second = node.attach(a, study), node.attach(a, study)

    assert first.id != second.id
    assert first.sha256 == second.sha256
    assert node.documents.listing(a, study) == [first, second]


def test_the_named_patient_must_be_that_of_the_own_study(node: Node, a: Caller, patient: PatientKey) -> None:
    study = node.study(patient)

    assert node.attach(a, study, patient_id=patient.patient_id).patient == patient
    with pytest.raises(DocumentRejected) as refused:
        node.attach(a, study, patient_id=new_patient_id())
    assert refused.value.field == "patient_id"


def test_a_study_nobody_knows_needs_the_patient(node: Node, a: Caller) -> None:
    study, patient_id = new_uid(), new_patient_id()
    with pytest.raises(DocumentRejected) as refused:
        node.attach(a, study)

    assert refused.value.field == "patient_id"
    assert node.attach(a, study, patient_id=patient_id).patient == PatientKey(a.institution_oid, patient_id)


def test_a_reply_about_a_study_that_may_be_known(node: Node, a: Caller, b: Caller, consenting: PatientKey) -> None:
    study = node.study(consenting)
    reply = node.attach(b, study, type="RETURN")

    assert reply.patient == consenting
    assert reply.author_oid == b.institution_oid
    assert node.documents.find(a, study, reply.id) == reply


def test_a_study_that_may_not_be_known_is_as_one_that_is_not(
    node: Node, a: Caller, b: Caller, patient: PatientKey
) -> None:
    hidden, unknown = node.study(patient), new_uid()
    answers = []
    for study in (hidden, unknown):
        with node.statements() as statements, pytest.raises(DocumentRejected) as refused:
            node.attach(b, study)
        answers.append((str(refused.value), refused.value.field, len(statements)))
    own = new_patient_id()

    assert answers[0] == answers[1]
    assert node.attach(b, hidden, patient_id=own).patient == PatientKey(b.institution_oid, own)


def test_a_study_of_two_others_does_not_say_whose_it_is(
    node: Node, a: Caller, b: Caller, consenting: PatientKey
) -> None:
    third = PatientKey(node.institution(), new_patient_id())
    node.register(third, FormKind.ENTIRE_CONSENT)
    study = node.study(consenting)
    node.study(third, study)

    with pytest.raises(DocumentRejected) as refused:
        node.attach(b, study)
    assert refused.value.field == "patient_id"


def test_a_suspended_institution_hands_in_nothing(node: Node, a: Caller, patient: PatientKey) -> None:
    study = node.study(patient)
    node.participate(a.institution_oid, ParticipationState.SUSPENDED)
    with pytest.raises(NotPermitted):
        node.attach(a, study)

    node.participate(a.institution_oid, ParticipationState.OPERATING)
    assert node.attach(a, study).patient == patient


@pytest.mark.parametrize("kind", DocumentType)
@pytest.mark.parametrize("role", Role)
def test_roles(node: Node, a: Caller, patient: PatientKey, role: Role, kind: DocumentType) -> None:
    caller = Caller(a.token_id, a.institution_oid, role)
    consent_forms = (DocumentType.CONSENT, DocumentType.CONSENT_WITHDRAWAL)
    may = role is Role.CLINICIAN or (role is Role.DESK and kind in consent_forms)
    study = node.study(patient)
    if may:
        assert node.attach(caller, study, type=kind).type is kind
        return
    with pytest.raises(NotPermitted):
        node.attach(caller, study, type=kind)


@pytest.mark.parametrize(
    ("fields", "content", "field"),
    [
        ({"title": "900101-1234567"}, PDF, "title"),
        ({"patient_id": "900101-1234567"}, PDF, "patient_id"),
        ({"file_name": "900101-1234567.pdf"}, PDF, "file"),
        ({"media_type": "image/png"}, PDF, "file"),
        ({}, b"nothing we take", "file"),
    ],
)
def test_what_is_refused_leaves_nothing(
    node: Node, a: Caller, patient: PatientKey, *, fields: dict[str, str], content: bytes, field: str
) -> None:
    study = node.study(patient)
    with pytest.raises(DocumentRejected) as refused:
        node.attach(a, study, content, **fields)

    assert refused.value.field == field
    assert node.documents.listing(a, study) == []
    assert parts(node) == []


@pytest.mark.parametrize("study", ["", "1..2", "../1", "1.2\n", "가"])
def test_what_is_no_uid(node: Node, a: Caller, study: str) -> None:
    with pytest.raises(DocumentRejected) as refused:
        node.attach(a, study, patient_id="1")

    assert refused.value.field == "StudyInstanceUID"


def test_the_content_is_taken_over_in_any_case(node: Node, a: Caller) -> None:
    content = node.staged()
    with pytest.raises(DocumentRejected):
        node.documents.attach(a, Submission(new_uid(), DocumentType.RETURN), content)

    assert parts(node) == []
