"""The authority: fresh within its bounds, or silent."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.consent.forms import NO_CONSENT, ConsentMode, FormKind
from gateway.domain.institution import ParticipationState
from gateway.domain.person import PatientKey
from gateway.errors import DecisionUnavailable, StoreUnavailable
from gateway.store.authority import StoredAuthority
from gateway.store.consents import register_form
from gateway.store.database import Database
from gateway.store.network import read_network, set_institution_state
from tests.build import HOSPITAL_A, NOON, PATIENT, register
from tests.wait import wait_until

REFRESH_S = 0.02


@contextmanager
def running(database: Database, stale_after_s: float = 5.0) -> Iterator[StoredAuthority]:
    authority = StoredAuthority(database, REFRESH_S, stale_after_s)
    authority.start()
    try:
        yield authority
    finally:
        authority.stop()


def hand_in(database: Database, kind: FormKind) -> None:
    with database.write() as session:
        register_form(session, PATIENT, kind, NOON, "desk")


def is_silent(authority: StoredAuthority) -> bool:
    try:
        authority.view()
    except DecisionUnavailable:
        return True
    return False


def test_view_is_the_network_and_the_consents(database: Database) -> None:
    register(database)
    hand_in(database, FormKind.ENTIRE_CONSENT)

    with running(database) as authority:
        view = authority.view()
        with database.read() as session:
            assert view.network == read_network(session)
        assert view.consent(PATIENT).mode is ConsentMode.ACTIVE
        assert view.consent(PatientKey(HOSPITAL_A, "nobody")) == NO_CONSENT


def test_nothing_is_known_after_the_stop(database: Database) -> None:
    with running(database, stale_after_s=0.1) as authority:
        assert not is_silent(authority)
    wait_until(lambda: is_silent(authority), 2)


def test_changes_are_seen_soon(database: Database) -> None:
    register(database)
    with running(database) as authority:
        assert authority.view().consent(PATIENT) == NO_CONSENT

        hand_in(database, FormKind.ENTIRE_CONSENT)
        wait_until(lambda: authority.view().consent(PATIENT).mode is ConsentMode.ACTIVE, 2)

        hand_in(database, FormKind.ENTIRE_WITHDRAWAL)
        wait_until(lambda: authority.view().consent(PATIENT).mode is ConsentMode.WITHDRAWN, 2)

        with database.write() as session:
            set_institution_state(session, HOSPITAL_A, ParticipationState.SUSPENDED)
        wait_until(lambda: authority.view().network.institutions[HOSPITAL_A].state is ParticipationState.SUSPENDED, 2)


def test_change_by_another_process_is_seen(sqlite: Database, tmp_path: Path) -> None:
    register(sqlite)
    with running(sqlite) as authority:
        before = authority.view().network.epoch
        with closing(sqlite3.connect(tmp_path / "gateway.db")) as other:
            other.execute("UPDATE institution SET state = 'SUSPENDED'")
            other.execute("UPDATE epoch SET value = value + 1")
            other.commit()
        wait_until(lambda: authority.view().network.epoch == before + 1, 2)

        assert {i.state for i in authority.view().network.institutions.values()} == {ParticipationState.SUSPENDED}


def test_view_does_not_change_under_its_reader(database: Database) -> None:
    register(database)
    with running(database) as authority:
        view = authority.view()
        before = view.network
        hand_in(database, FormKind.ENTIRE_CONSENT)
        wait_until(lambda: authority.view() is not view, 2)

        assert view.network is before


def test_same_epoch_is_the_same_view(database: Database) -> None:
    register(database)
    with running(database) as authority:
        view = authority.view()
        for _ in range(3):
            authority.refresh()

        assert authority.view() is view


def test_refresh_makes_a_change_known_at_once(database: Database) -> None:
    register(database)
    authority = StoredAuthority(database, 60.0, 60.0)
    authority.refresh()
    hand_in(database, FormKind.ENTIRE_CONSENT)
    authority.refresh()

    assert authority.view().consent(PATIENT).mode is ConsentMode.ACTIVE


def test_listeners_are_called_after_each_change_and_only_then(database: Database) -> None:
    register(database)
    authority = StoredAuthority(database, REFRESH_S, 5.0)
    epochs: list[int] = []
    checked = threading.Event()
    authority.on_change(lambda: epochs.append(authority.view().network.epoch))
    authority.on_change(checked.set)
    authority.start()
    first = authority.view().network.epoch

    checked.clear()
    hand_in(database, FormKind.ENTIRE_CONSENT)
    assert checked.wait(5)
    checked.clear()
    hand_in(database, FormKind.ENTIRE_WITHDRAWAL)
    assert checked.wait(5)
    authority.stop()

    assert epochs == [first, first + 1, first + 2]


def test_view_that_went_stale_is_checked_by_whoever_asks(database: Database) -> None:
    register(database)
    authority = StoredAuthority(database, 60.0, 0.1)
    authority.refresh()
    stale = authority.view()
    hand_in(database, FormKind.ENTIRE_CONSENT)

    fresh = wait_until(lambda: view if (view := authority.view()) is not stale else None, 2)

    assert fresh.consent(PATIENT).mode is ConsentMode.ACTIVE


def test_database_that_is_gone_silences_the_authority(tmp_path: Path, sqlite: Database) -> None:
    register(sqlite)
    with running(sqlite, stale_after_s=0.2) as authority:
        assert not is_silent(authority)
        (tmp_path / "gateway.db").rename(tmp_path / "moved.db")
        sqlite.close()

        wait_until(lambda: is_silent(authority), 5)

        for file in tmp_path.glob("gateway.db*"):
            file.unlink()
        (tmp_path / "moved.db").rename(tmp_path / "gateway.db")
        sqlite.close()
        wait_until(lambda: not is_silent(authority), 5)


def test_consents_that_cannot_be_read_let_nothing_go(tmp_path: Path, sqlite: Database) -> None:
    register(sqlite)
    authority = StoredAuthority(sqlite, 60.0, 60.0)
    authority.refresh()
    view = authority.view()
    sqlite.close()
    (tmp_path / "gateway.db").unlink()

    with pytest.raises(DecisionUnavailable, match="consents cannot be read"):
        view.consent(PATIENT)


def test_consent_that_was_read_is_remembered(database: Database) -> None:
    register(database)
    authority = StoredAuthority(database, 60.0, 60.0)
    authority.refresh()
    view = authority.view()
    known = view.consent(PATIENT)

    assert view.consent(PATIENT) is known


def test_row_that_cannot_be_understood_silences_the_authority_until_it_is_mended(database: Database) -> None:
    register(database)
    with running(database, stale_after_s=0.2) as authority:
        with database.write() as session:
            session.execute(text("UPDATE institution SET name = ''"))
            session.execute(text("UPDATE epoch SET value = value + 1"))
        wait_until(lambda: is_silent(authority), 5)

        with database.write() as session:
            session.execute(text("UPDATE institution SET name = 'Hospital'"))
        wait_until(lambda: not is_silent(authority), 5)


def test_start_needs_the_database(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        StoredAuthority(Database(f"sqlite:///{tmp_path / 'missing' / 'gateway.db'}"), REFRESH_S, 5.0).start()
