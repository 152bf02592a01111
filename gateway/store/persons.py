"""Persons: an internal id per human being, found by what an institution calls them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.domain.decision import new_id
from gateway.domain.person import PatientKey
from gateway.errors import NotFound
from gateway.store.tables import InstitutionRow, PersonIdentifierRow, PersonRow


def find_person(session: Session, patient: PatientKey) -> str | None:
    """The id of the person this institution knows by this patient id."""
    return session.scalar(
        select(PersonIdentifierRow.person_id).where(
            PersonIdentifierRow.issuer_oid == patient.issuer_oid,
            PersonIdentifierRow.patient_id == patient.patient_id,
        )
    )


def find_or_add_person(session: Session, patient: PatientKey) -> str:
    """The same, registering the person if need be.

    Raises:
        NotFound: the institution is not registered.
    """
    if known := find_person(session, patient):
        return known
    if session.get(InstitutionRow, patient.issuer_oid) is None:
        raise NotFound(f"institution {patient.issuer_oid} is not registered")
    person_id = new_id()
    session.add(PersonRow(id=person_id))
    session.flush()
    session.add(PersonIdentifierRow(issuer_oid=patient.issuer_oid, patient_id=patient.patient_id, person_id=person_id))
    return person_id
