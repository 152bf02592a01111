"""Consent forms: registered in order, folded, never changed."""

import threading
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.consent.forms import NO_CONSENT, ConsentMode, FormKind, fold
from gateway.domain.person import PatientKey
from gateway.errors import Conflict, NotFound
from gateway.store.consents import effective_consent, forms_of, register_form
from gateway.store.database import Database
from gateway.store.network import read_epoch
from tests.build import HOSPITAL_A, HOSPITAL_B, NOON, PATIENT, register

CONSENT, WITHDRAWAL = FormKind.ENTIRE_CONSENT, FormKind.ENTIRE_WITHDRAWAL


def hand_in(database: Database, kind: FormKind, patient: PatientKey = PATIENT) -> str:
    with database.write() as session:
        return register_form(session, patient, kind, NOON, "desk").id


def mode(database: Database, patient: PatientKey = PATIENT) -> ConsentMode:
    with database.read() as session:
        return effective_consent(session, patient).mode


def test_nobody_has_consented_at_first(database: Database) -> None:
    register(database)

    with database.read() as session:
        assert effective_consent(session, PATIENT) == NO_CONSENT
        assert forms_of(session, PATIENT) == ()


def test_forms_are_kept_in_order_of_registration(database: Database) -> None:
    register(database)
    kinds = [CONSENT, WITHDRAWAL, CONSENT]
    ids = [hand_in(database, kind) for kind in kinds]

    with database.read() as session:
        forms = forms_of(session, PATIENT)
        state = effective_consent(session, PATIENT)

    assert [(form.id, form.kind) for form in forms] == list(zip(ids, kinds, strict=True))
    assert {(form.registered_at, form.registered_by) for form in forms} == {(NOON, "desk")}
    assert (state.mode, state.forms) == (ConsentMode.ACTIVE, (ids[-1],))


def test_order_is_that_of_registration_whatever_the_clock_says(database: Database) -> None:
    register(database)
    hand_in(database, CONSENT)
    with database.write() as session:
        register_form(session, PATIENT, WITHDRAWAL, NOON - timedelta(days=1), "desk")

    assert mode(database) is ConsentMode.WITHDRAWN


def test_consent_of_one_patient_is_not_that_of_another(database: Database) -> None:
    register(database)
    hand_in(database, CONSENT)

    assert mode(database, PatientKey(HOSPITAL_A, "A-1002")) is ConsentMode.NONE
    assert mode(database, PatientKey(HOSPITAL_B, PATIENT.patient_id)) is ConsentMode.NONE


def test_refused_form_leaves_nothing_behind(database: Database) -> None:
    register(database)
    with database.read() as session:
        before = read_epoch(session)

    with pytest.raises(Conflict, match="no consent in force"):
        hand_in(database, WITHDRAWAL)

    with database.read() as session:
        assert forms_of(session, PATIENT) == ()
        assert read_epoch(session) == before


def test_institution_must_be_registered(database: Database) -> None:
    with pytest.raises(NotFound, match=HOSPITAL_A):
        hand_in(database, CONSENT)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(st.sampled_from(FormKind), max_size=6), number=st.integers(1, 10**9))
def test_state_is_the_fold_of_what_was_accepted(sqlite: Database, kinds: list[FormKind], number: int) -> None:
    register(sqlite)
    patient = PatientKey(HOSPITAL_A, f"P{number}")
    for kind in kinds:
        try:
            hand_in(sqlite, kind, patient)
        except Conflict:
            assert kind is WITHDRAWAL

    with sqlite.read() as session:
        assert effective_consent(session, patient) == fold(forms_of(session, patient))


def test_two_desks_at_once_register_one_person(database: Database) -> None:
    """The first forms of a person, registered at the same time over two connections."""
    register(database)
    start = threading.Barrier(2)
    errors: list[Exception] = []

    def desk() -> None:
        start.wait()
        try:
            hand_in(database, CONSENT)
        except Exception as error:  # shown by the assertion
            errors.append(error)

    desks = [threading.Thread(target=desk) for _ in range(2)]
    for thread in desks:
        thread.start()
    for thread in desks:
        thread.join()

    assert errors == []
    with database.read() as session:
        assert len(forms_of(session, PATIENT)) == 2


def test_two_withdrawals_at_once_are_one(database: Database) -> None:
    register(database)
    hand_in(database, CONSENT)
    start = threading.Barrier(2)
    outcomes: list[str] = []

    def desk() -> None:
        start.wait()
        try:
            hand_in(database, WITHDRAWAL)
            outcomes.append("registered")
        except Conflict:
            outcomes.append("refused")

    desks = [threading.Thread(target=desk) for _ in range(2)]
    for thread in desks:
        thread.start()
    for thread in desks:
        thread.join()

    assert sorted(outcomes) == ["refused", "registered"]
    assert mode(database) is ConsentMode.WITHDRAWN
