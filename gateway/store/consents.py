"""Consent forms: registered once, never changed. Registered means in effect, for every later decision."""

from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from gateway.consent.forms import NO_CONSENT, ConsentForm, EffectiveConsent, FormKind, apply, fold
from gateway.domain.decision import new_id
from gateway.domain.person import PatientKey
from gateway.store.network import advance_epoch
from gateway.store.persons import find_or_add_person
from gateway.store.tables import ConsentFormRow, PersonIdentifierRow


def register_form(
    session: Session, patient: PatientKey, kind: FormKind, registered_at: datetime, registered_by: str
) -> ConsentForm:
    """Register a form of the person this institution knows by this patient id.

    Raises:
        NotFound: the institution is not registered.
        Conflict: the form contradicts the state, such as a withdrawal without consent.
    """
    advance_epoch(session)  # first the epoch: on PostgreSQL its row lock makes registrations of all persons serial
    person_id = find_or_add_person(session, patient)
    form = ConsentForm(new_id(), kind, registered_at, registered_by)
    apply(fold(_forms(session, person_id)), form)
    session.add(
        ConsentFormRow(
            id=form.id,
            person_id=person_id,
            kind=form.kind.value,
            registered_at=form.registered_at,
            registered_by=form.registered_by,
        )
    )
    return form


def forms_of(session: Session, patient: PatientKey) -> tuple[ConsentForm, ...]:
    """A person's forms in the order of registration; one query, whether the person is known or not."""
    return _read(
        session,
        select(ConsentFormRow)
        .join(PersonIdentifierRow, PersonIdentifierRow.person_id == ConsentFormRow.person_id)
        .where(
            PersonIdentifierRow.issuer_oid == patient.issuer_oid, PersonIdentifierRow.patient_id == patient.patient_id
        ),
    )


def effective_consent(session: Session, patient: PatientKey) -> EffectiveConsent:
    """What holds now for the person this institution knows by this patient id."""
    forms = forms_of(session, patient)
    return fold(forms) if forms else NO_CONSENT


def _forms(session: Session, person_id: str) -> tuple[ConsentForm, ...]:
    return _read(session, select(ConsentFormRow).where(ConsentFormRow.person_id == person_id))


def _read(session: Session, query: Select[ConsentFormRow]) -> tuple[ConsentForm, ...]:
    rows = session.scalars(query.order_by(ConsentFormRow.sequence))
    return tuple(ConsentForm(row.id, FormKind(row.kind), row.registered_at, row.registered_by) for row in rows)
