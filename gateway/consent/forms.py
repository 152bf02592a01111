"""Consent forms and the state they fold into.

A form takes effect when it is registered, never earlier; the state is the fold of a person's forms in the order
of registration. Sources: 의료법 21조의2; the policy OIDs of the national exchange (1.2.410.100110.40.2.2.2).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.errors import Conflict


class FormKind(StrEnum):
    ENTIRE_CONSENT = "ENTIRE_CONSENT"
    ENTIRE_WITHDRAWAL = "ENTIRE_WITHDRAWAL"

    @property
    def policy_oid(self) -> str:
        """동의(전체) and 동의철회(전체)."""
        match self:
            case FormKind.ENTIRE_CONSENT:
                return "1.2.410.100110.40.2.2.2.2"
            case FormKind.ENTIRE_WITHDRAWAL:
                return "1.2.410.100110.40.2.2.2.4"


@dataclass(frozen=True, slots=True)
class ConsentForm:
    """An immutable record of what a person declared and who registered it (an actor, not a patient)."""

    id: str
    kind: FormKind
    registered_at: datetime
    registered_by: str


class ConsentMode(StrEnum):
    NONE = "NONE"
    ACTIVE = "ACTIVE"
    WITHDRAWN = "WITHDRAWN"


@dataclass(frozen=True, slots=True)
class EffectiveConsent:
    """What holds now, and the forms it rests on (the last one that changed it)."""

    mode: ConsentMode = ConsentMode.NONE
    forms: tuple[str, ...] = ()


NO_CONSENT = EffectiveConsent()


def apply(state: EffectiveConsent, form: ConsentForm) -> EffectiveConsent:
    """The state after one more form.

    Raises:
        Conflict: a withdrawal where no consent is in force.
    """
    match form.kind:
        case FormKind.ENTIRE_CONSENT:
            return EffectiveConsent(ConsentMode.ACTIVE, (form.id,))
        case FormKind.ENTIRE_WITHDRAWAL:
            if state.mode is not ConsentMode.ACTIVE:
                raise Conflict("consent: there is no consent in force that could be withdrawn")
            return EffectiveConsent(ConsentMode.WITHDRAWN, (form.id,))


def fold(forms: Iterable[ConsentForm]) -> EffectiveConsent:
    """The state after all forms, in order of registration."""
    state = NO_CONSENT
    for form in forms:
        state = apply(state, form)
    return state
