"""`gateway consent`: what a patient declared, what holds, what was decided."""

import os
import pwd
from pathlib import Path

import pytest

from gateway.config import load
from gateway.domain.decision import Outcome
from gateway.store.database import Database
from gateway.store.decisions import record_decisions
from gateway.store.tables import ConsentFormRow
from tests.build import decision
from tests.cli.typed import HOSPITAL_A, RESIDENT_NUMBER, Typist

OF_PATIENT = ("--institution", HOSPITAL_A, "--patient", "P1")


def database(folder: Path) -> Database:
    return Database(load(folder / "gateway.toml", environ={}).database_url)


def test_a_consent_and_its_withdrawal(registered: Typist) -> None:
    assert registered.done("consent", "show", *OF_PATIENT).out == "Consent: NONE\nNo form registered.\n"
    registered_form = registered.done("consent", "register", *OF_PATIENT, "--json").json
    assert registered_form["form"] == "ENTIRE_CONSENT"
    assert registered.done("consent", "withdraw", *OF_PATIENT).out.startswith("Registered ENTIRE_WITHDRAWAL, form ")

    shown = registered.done("consent", "show", *OF_PATIENT, "--json").json
    assert shown["mode"] == "WITHDRAWN"
    assert [form["kind"] for form in shown["forms"]] == ["ENTIRE_CONSENT", "ENTIRE_WITHDRAWAL"]
    assert shown["forms"][0]["id"] == registered_form["id"]
    lines = registered.done("consent", "show", *OF_PATIENT).out.splitlines()
    assert lines[0] == "Consent: WITHDRAWN"
    assert registered_form["id"] in lines[2]


def test_as_json_without_a_form(registered: Typist) -> None:
    assert registered.done("consent", "show", *OF_PATIENT, "--json").json == {"mode": "NONE", "forms": []}


def test_the_same_id_at_another_institution_is_another_patient(registered: Typist) -> None:
    registered.done("consent", "register", *OF_PATIENT)
    elsewhere = ("--institution", "1.2.410.100110.10.22222222", "--patient", "P1")
    assert registered.done("consent", "show", *elsewhere, "--json").json["mode"] == "NONE"


def test_a_withdrawal_of_nothing(registered: Typist) -> None:
    outcome = registered("consent", "withdraw", *OF_PATIENT)
    assert (outcome.code, outcome.told) == (2, "consent: there is no consent in force that could be withdrawn")
    assert registered.done("consent", "show", *OF_PATIENT, "--json").json["forms"] == []


@pytest.mark.parametrize("verb", ["register", "withdraw"])
@pytest.mark.parametrize(
    ("patient", "expected"),
    [
        ("", "patient id: expected 1 to 64 characters"),
        ("x" * 65, "patient id: expected 1 to 64 characters"),
        ("x" * 100_000, "patient id: expected 1 to 64 characters"),
        (" P1", "patient id: leading and trailing spaces"),
        ("P\\1", "patient id: control characters and backslash"),
        ("P\x001"[:1] + "\x07", "patient id: control characters and backslash"),
        ("\udcff", "patient id: control characters"),
        (RESIDENT_NUMBER, "patient id: has the form of a resident registration number"),
        ("900101 1234567", "patient id: has the form of a resident registration number"),
        ("９００１０１-１２３４５６７", "patient id: has the form of a resident registration number"),
    ],
)
def test_what_is_no_patient_id(registered: Typist, verb: str, patient: str, expected: str) -> None:
    outcome = registered("consent", verb, "--institution", HOSPITAL_A, "--patient", patient)
    assert outcome.code == 2
    assert outcome.told.startswith(expected)
    assert len(outcome.told) < 200
    assert "1234567" not in outcome.err


def test_an_institution_that_is_not_registered(registered: Typist) -> None:
    outcome = registered("consent", "register", "--institution", "1.2.3", "--patient", "P1")
    assert (outcome.code, outcome.told) == (2, "institution 1.2.3 is not registered")


@pytest.mark.parametrize("name", [None, "somebody"])
def test_the_user_of_the_process_is_recorded_as_who_registered(
    registered: Typist, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    """Whatever the environment says, and where the user has no name, as in containers."""
    monkeypatch.setenv("LOGNAME", "mallory")

    def entry(uid: int) -> pwd.struct_passwd:
        assert uid == os.getuid()
        if name is None:
            raise KeyError(uid)
        return pwd.struct_passwd((name, "", uid, uid, "", "", ""))

    monkeypatch.setattr(pwd, "getpwuid", entry)
    registered.done("consent", "register", *OF_PATIENT)
    ledger = database(folder)
    with ledger.read() as session:
        (row,) = session.query(ConsentFormRow).all()
        assert row.registered_by == f"cli:{name or f'uid {os.getuid()}'}"
    ledger.close()


class TestDecisions:
    def test_none_yet(self, registered: Typist) -> None:
        assert registered.done("consent", "decisions").out == "Nothing has been decided yet.\n"
        assert registered.done("consent", "decisions", "--json").json == []

    def test_are_listed_with_their_reasons(self, registered: Typist, folder: Path) -> None:
        made = [decision(), decision(Outcome.DENY, study_instance_uid="1.2.4")]
        ledger = database(folder)
        with ledger.write() as session:
            record_decisions(session, made)
        ledger.close()

        assert "The patient has not consented." in registered.done("consent", "decisions").out
        (listed,) = registered.done("consent", "decisions", "--study", "1.2.4", "--json").json
        assert listed["id"] == made[1].id
        assert (listed["outcome"], listed["reason"]) == ("DENY", "no_consent")
        assert listed["explanation"] == "The patient has not consented."
        assert len(registered.done("consent", "decisions", "--json").json) == 2
        assert len(registered.done("consent", "decisions", "--limit", "1", "--json").json) == 1

    def test_of_what_is_no_study(self, registered: Typist) -> None:
        outcome = registered("consent", "decisions", "--study", "../..")
        assert (outcome.code, outcome.told.startswith("--study: expected")) == (2, True)

    @pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "9" * 5000])
    def test_limits_that_are_none(self, registered: Typist, limit: str) -> None:
        outcome = registered("consent", "decisions", "--limit", limit)
        assert (outcome.code, outcome.out) == (2, "")
        assert "--limit" in outcome.err
