"""Persons and what institutions call them."""

import pytest
from sqlalchemy import func, select

from gateway.domain.person import PatientKey
from gateway.errors import NotFound
from gateway.store.database import Database
from gateway.store.persons import find_or_add_person, find_person
from gateway.store.tables import PersonRow
from tests.build import HOSPITAL_A, HOSPITAL_B, PATIENT, register


def test_person_is_added_once(database: Database) -> None:
    register(database)
    with database.write() as session:
        first = find_or_add_person(session, PATIENT)
        again = find_or_add_person(session, PATIENT)
    with database.write() as session:
        later = find_or_add_person(session, PATIENT)

    assert first == again == later
    with database.read() as session:
        assert find_person(session, PATIENT) == first
        assert session.scalar(select(func.count()).select_from(PersonRow)) == 1


def test_same_patient_id_of_two_institutions_is_two_persons(database: Database) -> None:
    register(database)
    with database.write() as session:
        one = find_or_add_person(session, PatientKey(HOSPITAL_A, "1"))
        other = find_or_add_person(session, PatientKey(HOSPITAL_B, "1"))

    assert one != other


def test_looking_for_a_person_adds_nobody(database: Database) -> None:
    register(database)

    with database.read() as session:
        assert find_person(session, PATIENT) is None


def test_institution_must_be_registered(database: Database) -> None:
    with pytest.raises(NotFound, match=HOSPITAL_A), database.write() as session:
        find_or_add_person(session, PATIENT)
