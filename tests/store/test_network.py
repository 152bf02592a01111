"""The network's objects: registered, changed, removed; every change advances the epoch."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy.orm import Session

from gateway.consent.forms import FormKind
from gateway.domain.institution import Institution, ParticipationState
from gateway.domain.transfer import Route
from gateway.errors import Conflict, NotFound
from gateway.store.consents import register_form
from gateway.store.database import Database
from gateway.store.network import (
    put_ae,
    put_institution,
    put_route,
    read_epoch,
    read_network,
    remove_ae,
    remove_route,
    set_institution_state,
)
from tests.build import HOSPITAL_A, HOSPITAL_B, NOON, PACS_A, PACS_B, PATIENT, ae, network, register


def epoch(database: Database) -> int:
    with database.read() as session:
        return read_epoch(session)


def test_empty_network(database: Database) -> None:
    with database.read() as session:
        known = read_network(session)

    assert (known.epoch, known.institutions, known.application_entities, known.routes) == (0, {}, {}, ())


def test_network_is_read_as_it_was_registered(database: Database) -> None:
    expected = network(routes=(Route("a-to-b", PACS_B, PACS_A), Route("b-to-a", PACS_A, None, "TO_A")))
    register(database, expected)

    with database.read() as session:
        known = read_network(session)

    assert known == replace(expected, epoch=6)


def test_ae_with_several_networks_and_none(database: Database) -> None:
    register(database)
    several = replace(ae(PACS_A, HOSPITAL_A), addresses=("10.0.0.0/8", "2001:db8::/32"))
    none = replace(ae(PACS_B, HOSPITAL_B), addresses=())
    with database.write() as session:
        put_ae(session, several)
        put_ae(session, none)

    with database.read() as session:
        known = read_network(session).application_entities

    assert known == {PACS_A: several, PACS_B: none}


CHANGES: dict[str, Callable[[Session], object]] = {
    "institution added": lambda s: put_institution(s, Institution("1.2.3", "C")),
    "institution renamed": lambda s: put_institution(s, Institution(HOSPITAL_A, "Another name")),
    "institution suspended": lambda s: set_institution_state(s, HOSPITAL_A, ParticipationState.SUSPENDED),
    "peer added": lambda s: put_ae(s, ae("NEW", HOSPITAL_A)),
    "peer changed": lambda s: put_ae(s, ae(PACS_A, HOSPITAL_A, port=11112)),
    "peer removed": lambda s: remove_ae(s, PACS_A),
    "route added": lambda s: put_route(s, Route("new", PACS_A)),
    "route changed": lambda s: put_route(s, Route("a-to-b", PACS_A)),
    "route removed": lambda s: remove_route(s, "a-to-b"),
    "consent registered": lambda s: register_form(s, PATIENT, FormKind.ENTIRE_CONSENT, NOON, "desk"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_of_what_a_decision_depends_on_advances_the_epoch(
    database: Database, change: Callable[[Session], object]
) -> None:
    register(database)
    before = epoch(database)

    with database.write() as session:
        change(session)

    assert epoch(database) == before + 1


def test_withdrawal_advances_the_epoch(database: Database) -> None:
    register(database)
    with database.write() as session:
        register_form(session, PATIENT, FormKind.ENTIRE_CONSENT, NOON, "desk")
    before = epoch(database)

    with database.write() as session:
        register_form(session, PATIENT, FormKind.ENTIRE_WITHDRAWAL, NOON, "desk")

    assert epoch(database) == before + 1


REFUSED: dict[str, tuple[Callable[[Session], object], type[Exception], str]] = {
    "peer of nobody": (lambda s: put_ae(s, ae("NEW", "1.2.3")), NotFound, "institution 1.2.3"),
    "title of another": (lambda s: put_ae(s, ae(PACS_A, HOSPITAL_B)), Conflict, "belongs to another"),
    "peer in use": (lambda s: remove_ae(s, PACS_B), Conflict, "destination of route a-to-b"),
    "unknown peer": (lambda s: remove_ae(s, "NOBODY"), NotFound, "AE title NOBODY"),
    "route to nowhere": (lambda s: put_route(s, Route("new", "NOBODY")), NotFound, "AE title NOBODY"),
    "unknown route": (lambda s: remove_route(s, "none"), NotFound, "route none"),
    "unknown institution": (
        lambda s: set_institution_state(s, "1.2.3", ParticipationState.SUSPENDED),
        NotFound,
        "institution 1.2.3",
    ),
}


@pytest.mark.parametrize(("change", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_refused_changes_change_nothing(
    database: Database, change: Callable[[Session], object], error: type[Exception], words: str
) -> None:
    register(database)
    with database.read() as session:
        before = read_network(session)

    with pytest.raises(error, match=words), database.write() as session:
        change(session)

    with database.read() as session:
        assert read_network(session) == before


def test_new_name_does_not_let_a_suspended_institution_operate_again(database: Database) -> None:
    register(database)
    with database.write() as session:
        set_institution_state(session, HOSPITAL_A, ParticipationState.SUSPENDED)

    with database.write() as session:
        put_institution(session, Institution(HOSPITAL_A, "Another name"))

    with database.read() as session:
        known = read_network(session).institutions[HOSPITAL_A]
    assert known == Institution(HOSPITAL_A, "Another name", ParticipationState.SUSPENDED)


def test_suspended_institution_operates_again_when_told_so(database: Database) -> None:
    register(database)
    for state in (ParticipationState.SUSPENDED, ParticipationState.OPERATING):
        with database.write() as session:
            set_institution_state(session, HOSPITAL_A, state)

        with database.read() as session:
            assert read_network(session).institutions[HOSPITAL_A].state is state
