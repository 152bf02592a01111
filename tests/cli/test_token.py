"""`gateway token`: made, shown once, listed, ended."""

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.app.parts import open_database, utc_now
from gateway.config import load
from gateway.domain.access import Caller, Role
from gateway.store.tokens import authenticate
from tests.cli.typed import HOSPITAL_A, RESIDENT_NUMBER, Typist

CREATE = ("token", "create", "--institution", HOSPITAL_A, "--role", "desk")


def caller(folder: Path, text: str) -> Caller | None:
    """Who may come with this token."""
    database = open_database(load(folder / "gateway.toml", environ={}))
    with database.read() as session:
        found = authenticate(session, text, utc_now())
    database.close()
    return found


def test_the_line_printed_is_the_token(registered: Typist, folder: Path) -> None:
    text = registered.done(*CREATE).out.removesuffix("\n")
    assert re.fullmatch(r"exg_[0-9a-f]{32}_[0-9a-f]{64}", text)
    found = caller(folder, text)
    assert found is not None
    assert (found.institution_oid, found.role) == (HOSPITAL_A, Role.DESK)


def test_as_json(registered: Typist, folder: Path) -> None:
    made = registered.done(*CREATE, "--json").json
    assert made.keys() == {"id", "token", "role", "institution_oid"}
    assert caller(folder, made["token"]) == Caller(made["id"], HOSPITAL_A, Role.DESK)


def test_is_listed_without_its_secret(registered: Typist) -> None:
    made = registered.done(*CREATE, "--label", "front desk", "--json").json
    secret = made["token"].rpartition("_")[2]
    plain, listed = registered.done("token", "list").out, registered.done("token", "list", "--json")
    assert secret not in plain + listed.out
    (row,) = listed.json
    assert (row["id"], row["label"], row["expires_at"], row["revoked_at"]) == (made["id"], "front desk", None, None)
    assert plain.splitlines()[1].split()[-3:] == ["front", "desk", "valid"]


def test_expires(registered: Typist) -> None:
    registered.done(*CREATE, "--days", "3650")
    (row,) = registered.done("token", "list", "--json").json
    assert datetime.fromisoformat(row["expires_at"]) - datetime.fromisoformat(row["created_at"]) == timedelta(3650)


@pytest.mark.parametrize("days", ["0", "-1", "3651", "99999999", "9" * 30, "x"])
def test_days_that_are_none(registered: Typist, days: str) -> None:
    outcome = registered(*CREATE, "--days", days)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--days" in outcome.err
    assert registered.done("token", "list", "--json").json == []


def test_is_ended_at_once(registered: Typist, folder: Path) -> None:
    made = registered.done(*CREATE, "--json").json
    assert registered.done("token", "revoke", made["id"]).out == f"Revoked {made['id']}.\n"
    assert registered.done("token", "revoke", made["id"], "--json").json == {"revoked": made["id"]}
    assert caller(folder, made["token"]) is None
    assert registered.done("token", "list").out.splitlines()[1].endswith("revoked")


def test_an_id_nobody_has(registered: Typist) -> None:
    outcome = registered("token", "revoke", "0" * 32)
    assert (outcome.code, outcome.told) == (2, "there is no token with this id")


def test_an_institution_that_is_not_registered(registered: Typist) -> None:
    outcome = registered("token", "create", "--institution", "1.2.3", "--role", "desk")
    assert (outcome.code, outcome.told) == (2, "institution 1.2.3 is not registered")


def test_a_role_there_is_not(registered: Typist) -> None:
    outcome = registered("token", "create", "--institution", HOSPITAL_A, "--role", "king")
    assert outcome.code == 2
    assert "--role" in outcome.err
    assert "desk" in outcome.err.lower()


def test_a_resident_registration_number_is_no_label(registered: Typist) -> None:
    outcome = registered(*CREATE, "--label", f"for {RESIDENT_NUMBER}")
    assert outcome.code == 2
    assert outcome.told == "label: has the form of a resident registration number, which is never stored"
    assert registered.done("token", "list", "--json").json == []


def test_none_yet(registered: Typist) -> None:
    assert registered.done("token", "list").out == "None yet. Make one with `gateway token create`.\n"
