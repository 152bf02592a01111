"""API tokens."""

from dataclasses import fields
from datetime import timedelta

import pytest
from sqlalchemy import select

from gateway.domain.access import Caller, Role, Token
from gateway.errors import NotFound
from gateway.store.database import Database
from gateway.store.tables import TokenRow
from gateway.store.tokens import TOKEN_PREFIX, authenticate, create_token, list_tokens, revoke_token
from tests.build import HOSPITAL_A, NOON, register

LATER = NOON + timedelta(hours=1)


def make(database: Database, role: Role = Role.DESK, expires: bool = False) -> tuple[Token, str]:
    with database.write() as session:
        return create_token(
            session, HOSPITAL_A, role, label="front desk", now=NOON, expires_at=LATER if expires else None
        )


def caller(database: Database, text: str, at: timedelta = timedelta(0)) -> Caller | None:
    with database.read() as session:
        return authenticate(session, text, NOON + at)


@pytest.mark.parametrize("role", list(Role))
def test_token_names_its_holder(database: Database, role: Role) -> None:
    register(database)
    token, text = make(database, role)

    assert caller(database, text) == Caller(token.id, HOSPITAL_A, role)


def test_tokens_can_be_told_by_their_form(database: Database) -> None:
    register(database)
    token, text = make(database)

    prefix, token_id, secret = text.split("_")
    assert (prefix, token_id) == (TOKEN_PREFIX, token.id)
    assert len(bytes.fromhex(secret)) == 32


def test_secret_is_not_kept(database: Database) -> None:
    register(database)
    _, text = make(database)
    secret = text.rpartition("_")[2]

    with database.read() as session:
        row = session.scalars(select(TokenRow)).one()
        kept = [str(getattr(row, column.name)) for column in TokenRow.__table__.columns]

    assert not any(secret in value for value in kept)
    assert "secret" not in {field.name for field in fields(Token)}


def test_wrong_tokens_are_nobodys(database: Database) -> None:
    register(database)
    token, text = make(database)
    other, other_text = make(database)
    secret = text.rpartition("_")[2]

    for wrong in (
        "",
        "_",
        "__",
        "exg",
        text[:-1],
        text + "0",
        text.upper(),
        f"abc_{token.id}_{secret}",
        f"{TOKEN_PREFIX}_{other.id}_{secret}",
        f"{TOKEN_PREFIX}_{'0' * 32}_{secret}",
        f"{TOKEN_PREFIX}_{token.id}_",
        f"{TOKEN_PREFIX}_{token.id}",
        f"{TOKEN_PREFIX}__{secret}",
        f"{TOKEN_PREFIX}_\x00_{secret}",
        f"{TOKEN_PREFIX}_{'x' * 1000}_{secret}",
        f"{TOKEN_PREFIX}_{token.id}_한글",
        f"{TOKEN_PREFIX}_{token.id}_{secret}\n",
    ):
        assert caller(database, wrong) is None, wrong
    assert caller(database, other_text) is not None


def test_token_expires(database: Database) -> None:
    register(database)
    _, text = make(database, expires=True)

    assert caller(database, text, timedelta(minutes=59, seconds=59)) is not None
    assert caller(database, text, timedelta(hours=1)) is None
    assert caller(database, text, timedelta(days=1)) is None


def test_revoked_token_ends_at_once(database: Database) -> None:
    register(database)
    token, text = make(database)
    with database.write() as session:
        revoke_token(session, token.id, NOON)

    assert caller(database, text) is None


def test_moment_of_revocation_is_the_first(database: Database) -> None:
    register(database)
    token, _ = make(database)
    for moment in (NOON, LATER):
        with database.write() as session:
            revoke_token(session, token.id, moment)

    with database.read() as session:
        (listed,) = list_tokens(session)
    assert listed.revoked_at == NOON


def test_unknown_token_cannot_be_revoked(database: Database) -> None:
    with pytest.raises(NotFound), database.write() as session:
        revoke_token(session, "0" * 32, NOON)


def test_token_needs_a_registered_institution(database: Database) -> None:
    with pytest.raises(NotFound, match=HOSPITAL_A):
        make(database)


def test_tokens_are_listed_newest_first(database: Database) -> None:
    register(database)
    made = []
    for hours in (0, 2, 1):
        with database.write() as session:
            token, _ = create_token(
                session, HOSPITAL_A, Role.MONITOR, label=f"{hours}", now=NOON + timedelta(hours=hours), expires_at=None
            )
            made.append(token)

    with database.read() as session:
        assert list_tokens(session) == [made[1], made[2], made[0]]
