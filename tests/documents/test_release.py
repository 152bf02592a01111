"""Who may read what: decided, recorded, and the same answer for no and for nothing."""

import pytest

from gateway.consent.forms import FormKind
from gateway.domain.access import Caller
from gateway.domain.decision import Outcome, Reason
from gateway.domain.institution import ParticipationState
from gateway.domain.person import PatientKey
from gateway.errors import DecisionUnavailable, StoreUnavailable
from gateway.store.decisions import list_decisions
from tests.documents.node import PDF, Node, clinician, new_uid, running_node, until


def reasons(node: Node, study: str) -> list[tuple[str, Outcome, Reason]]:
    """The recorded decisions of a study, oldest first: the reader's OID, outcome and reason."""
    with node.database.read() as session:
        found = list_decisions(session, study_instance_uid=study, limit_count=100)
    return [(d.destination_oid, d.verdict.outcome, d.verdict.reason) for d in reversed(found)]


def read(node: Node, caller: Caller, study: str, document_id: str) -> bytes | None:
    release = node.documents.open(caller, study, document_id)
    if release is None:
        return None
    content = release.read(1 << 20, 0)
    release.close()
    return content


def test_the_author_reads_without_consent(node: Node, a: Caller, patient: PatientKey) -> None:
    study = node.study(patient)
    document = node.attach(a, study)

    assert node.documents.listing(a, study) == [document]
    assert read(node, a, study, document.id) == PDF
    assert reasons(node, study) == [(a.institution_oid, Outcome.PERMIT, Reason.SAME_INSTITUTION)]


def test_another_reads_while_consent_is_in_force(node: Node, a: Caller, b: Caller, patient: PatientKey) -> None:
    study = node.study(patient)
    document = node.attach(a, study)

    assert node.documents.listing(b, study) == []
    assert read(node, b, study, document.id) is None
    node.register(patient, FormKind.ENTIRE_CONSENT)
    assert node.documents.listing(b, study) == [document]
    assert read(node, b, study, document.id) == PDF
    node.register(patient, FormKind.ENTIRE_WITHDRAWAL)
    assert node.documents.listing(b, study) == []
    assert read(node, b, study, document.id) is None

    until(lambda: len(reasons(node, study)) == 3)
    assert reasons(node, study) == [
        (b.institution_oid, Outcome.DENY, Reason.NO_CONSENT),
        (b.institution_oid, Outcome.PERMIT, Reason.CONSENT_IN_FORCE),
        (b.institution_oid, Outcome.DENY, Reason.WITHDRAWN),
    ]


def test_both_must_take_part(node: Node, a: Caller, b: Caller, consenting: PatientKey) -> None:
    study = node.study(consenting)
    document = node.attach(a, study)
    for oid in (a.institution_oid, b.institution_oid):
        node.participate(oid, ParticipationState.SUSPENDED)
        assert node.documents.find(b, study, document.id) is None
        assert node.documents.listing(b, study) == []
        assert node.documents.find(a, study, document.id) == document
        node.participate(oid, ParticipationState.OPERATING)
        assert node.documents.find(b, study, document.id) == document


def test_the_permission_is_recorded_before_the_content_is_there(
    node: Node, a: Caller, b: Caller, consenting: PatientKey
) -> None:
    study = node.study(consenting)
    release = node.documents.open(b, study, node.attach(a, study).id)

    assert release is not None
    assert reasons(node, study) == [(b.institution_oid, Outcome.PERMIT, Reason.CONSENT_IN_FORCE)]
    release.close()


def test_what_is_listed_is_recorded_too(node: Node, a: Caller, b: Caller, consenting: PatientKey) -> None:
    study = node.study(consenting)
    node.attach(a, study)
    node.documents.listing(b, study)
    node.documents.listing(b, study)

    assert reasons(node, study) == [(b.institution_oid, Outcome.PERMIT, Reason.CONSENT_IN_FORCE)]


def test_no_and_nothing_take_the_same_work(node: Node, a: Caller, b: Caller, patient: PatientKey) -> None:
    """As many statements against the database, the consent's included, which is asked for once per epoch."""
    study = node.study(patient)
    document = node.attach(a, study)
    spent = []
    for where, which in ((study, document.id), (new_uid(), "f" * 32), (study, "f" * 32)):
        node.participate(b.institution_oid, ParticipationState.OPERATING)  # a new epoch: nothing is remembered
        with node.statements() as statements:
            assert node.documents.find(b, where, which) is None
        spent.append(len(statements))
    listed = []
    for where in (study, new_uid()):
        node.participate(b.institution_oid, ParticipationState.OPERATING)
        with node.statements() as statements:
            assert node.documents.listing(b, where) == []
        listed.append(len(statements))

    assert len(set(spent)) == 1
    assert len(set(listed)) == 1


def test_a_document_of_another_study_is_not_there(node: Node, a: Caller, patient: PatientKey) -> None:
    document = node.attach(a, node.study(patient))

    assert node.documents.find(a, node.study(patient), document.id) is None


def test_a_withdrawal_ends_a_running_release(node: Node, a: Caller, b: Caller, consenting: PatientKey) -> None:
    study = node.study(consenting)
    release = node.documents.open(b, study, node.attach(a, study).id)
    assert release is not None
    assert release.still_permitted()

    node.register(consenting, FormKind.ENTIRE_WITHDRAWAL)

    assert not release.still_permitted()
    release.close()


def test_a_content_whose_size_has_changed_is_not_released(node: Node, a: Caller, patient: PatientKey) -> None:
    study = node.study(patient)
    document = node.attach(a, study, PDF + b"\n" * 7)
    path = node.directory / "blobs" / document.sha256[:2] / document.sha256
    path.write_bytes(b"%PDF-short")

    with pytest.raises(StoreUnavailable, match="damaged"):
        node.documents.open(a, study, document.id)


def cannot_say(node: Node, caller: Caller, study: str, document_id: str) -> bool:
    try:
        node.documents.find(caller, study, document_id)
    except DecisionUnavailable:
        return True
    return False


def test_when_nobody_can_say_nothing_is_released(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_node(tmp_path_factory.mktemp("silent"), stale_after_s=0.3) as node:
        a = clinician(node.institution())
        study = node.study(PatientKey(a.institution_oid, "1"))
        document = node.attach(a, study)
        node.authority.stop()

        until(lambda: cannot_say(node, a, study, document.id))
        with pytest.raises(DecisionUnavailable):
            node.documents.listing(a, study)
