"""Consent forms: registered once, never changed. Registered means in effect, for every later decision."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.consent.forms import NO_CONSENT, ConsentForm, EffectiveConsent, FormKind, apply, fold
from gateway.domain.decision import new_id
from gateway.domain.person import PatientKey
from gateway.store.network import advance_epoch
from gateway.store.persons import find_or_add_person, find_person
from gateway.store.tables import ConsentFormRow


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
    """A person's forms in the order of registration."""
    person_id = find_person(session, patient)
    return _forms(session, person_id) if person_id else ()


def effective_consent(session: Session, patient: PatientKey) -> EffectiveConsent:
    """What holds now for the person this institution knows by this patient id."""
    forms = forms_of(session, patient)
    return fold(forms) if forms else NO_CONSENT


def _forms(session: Session, person_id: str) -> tuple[ConsentForm, ...]:
    rows = session.scalars(
        select(ConsentFormRow).where(ConsentFormRow.person_id == person_id).order_by(ConsentFormRow.sequence)
    )
    return tuple(ConsentForm(row.id, FormKind(row.kind), row.registered_at, row.registered_by) for row in rows)
