"""API tokens: random, shown once, kept as a digest, bound to an institution and a role.

A token reads `exg_<id>_<secret>`; the secret has 256 random bits, so a plain digest is enough to keep.
"""

import hmac
import re
import secrets
from datetime import datetime
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.domain.access import Caller, Role, Token
from gateway.domain.decision import new_id
from gateway.errors import NotFound
from gateway.store.tables import InstitutionRow, TokenRow

TOKEN_PREFIX = "exg"  # noqa: S105  # the public marker by which leak scanners know our tokens
_SECRET_BYTES = 32
_TOKEN = re.compile(rf"{TOKEN_PREFIX}_([0-9a-f]{{32}})_([0-9a-f]{{{2 * _SECRET_BYTES}}})")


def create_token(
    session: Session, institution_oid: str, role: Role, *, label: str, now: datetime, expires_at: datetime | None
) -> tuple[Token, str]:
    """A new token and the text to hand to its holder, which cannot be had again.

    Raises:
        NotFound: the institution is not registered.
    """
    if session.get(InstitutionRow, institution_oid) is None:
        raise NotFound(f"institution {institution_oid} is not registered")
    secret = secrets.token_hex(_SECRET_BYTES)
    row = TokenRow(
        id=new_id(),
        secret_sha256=_digest(secret),
        institution_oid=institution_oid,
        role=role.value,
        label=label,
        created_at=now,
        expires_at=expires_at,
    )
    session.add(row)
    return _token(row), f"{TOKEN_PREFIX}_{row.id}_{secret}"


def authenticate(session: Session, text: str, now: datetime) -> Caller | None:
    """The holder of a token; None when it is unknown, expired or revoked."""
    form = _TOKEN.fullmatch(text)
    row = session.get(TokenRow, form[1]) if form else None
    if form is None or row is None or not hmac.compare_digest(_digest(form[2]), row.secret_sha256):
        return None
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        return None
    return Caller(row.id, row.institution_oid, Role(row.role))


def list_tokens(session: Session) -> list[Token]:
    """All tokens, newest first."""
    return [_token(row) for row in session.scalars(select(TokenRow).order_by(TokenRow.created_at.desc()))]


def revoke_token(session: Session, token_id: str, now: datetime) -> None:
    """End a token at once.

    Raises:
        NotFound: no such token.
    """
    row = session.get(TokenRow, token_id)
    if row is None:
        raise NotFound("there is no token with this id")
    row.revoked_at = row.revoked_at or now


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _token(row: TokenRow) -> Token:
    return Token(row.id, row.institution_oid, Role(row.role), row.label, row.created_at, row.expires_at, row.revoked_at)
