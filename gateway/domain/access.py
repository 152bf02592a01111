"""Who may use the REST interface."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """What a token lets its holder do; always within its institution."""

    ADMINISTRATOR = "ADMINISTRATOR"
    """Status, decisions and metrics of the node."""
    DESK = "DESK"
    """Registers consent and withdrawal."""
    CLINICIAN = "CLINICIAN"
    """Attaches and reads documents."""
    MONITOR = "MONITOR"
    """Reads metrics and status; nothing clinical."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid token."""

    token_id: str
    institution_oid: str
    role: Role


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept: never its secret."""

    id: str
    institution_oid: str
    role: Role
    label: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
