"""Institutions and whether they take part in the exchange."""

import re
from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import InputError

UID_LIMIT_CHARACTERS = 64
"""PS3.5 §9.1: the most a UID may have; institution OIDs become roots of UIDs, so they obey it too."""

_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")


class ParticipationState(StrEnum):
    """Only an OPERATING institution exchanges; movement inside one institution is no exchange."""

    OPERATING = "OPERATING"
    SUSPENDED = "SUSPENDED"


@dataclass(frozen=True, slots=True)
class Institution:
    """An institution, named by its OID (1.2.410.100110.10.<요양기관기호>), which also issues its patient ids."""

    oid: str
    name: str
    state: ParticipationState = ParticipationState.OPERATING

    def __post_init__(self) -> None:
        if len(self.oid) > UID_LIMIT_CHARACTERS or not _OID.fullmatch(self.oid):
            raise InputError(
                "institution oid: expected an OID such as 1.2.410.100110.10.12345678, at most 64 characters"
            )
        if not self.name.strip():
            raise InputError("institution name: expected a name, got nothing")
        if not self.name.isprintable():
            raise InputError("institution name: control characters are not allowed")
