"""The one decision: may this content of this patient go from one institution to another, now?

Rules in order, first match decides; whatever is not permitted is denied. Pure: the caller brings the state.
"""

from dataclasses import dataclass

from gateway.consent.forms import ConsentMode, EffectiveConsent
from gateway.domain.decision import Outcome, Purpose, Reason, Verdict
from gateway.domain.instance import Content
from gateway.domain.institution import Institution, ParticipationState


@dataclass(frozen=True, slots=True)
class DisclosureRequest:
    """What is to go from whom to whom, and what for."""

    source: Institution
    destination: Institution
    content: Content
    purpose: Purpose


def decide(request: DisclosureRequest, consent: EffectiveConsent) -> Verdict:
    """Permit or deny, with the reason and the forms it rests on (의료법 21조의2)."""
    if request.source.oid == request.destination.oid:
        return Verdict(Outcome.PERMIT, Reason.SAME_INSTITUTION)
    for institution in (request.source, request.destination):
        if institution.state is not ParticipationState.OPERATING:
            return _deny(Reason.NOT_OPERATING)
    if request.content is Content.OTHER:
        return _deny(Reason.MODALITY_NOT_EXCHANGEABLE)
    match consent.mode:
        case ConsentMode.NONE:
            return _deny(Reason.NO_CONSENT)
        case ConsentMode.WITHDRAWN:
            return _deny(Reason.WITHDRAWN, consent.forms)
        case ConsentMode.ACTIVE:
            return Verdict(Outcome.PERMIT, Reason.CONSENT_IN_FORCE, consent.forms)


def _deny(reason: Reason, forms: tuple[str, ...] = ()) -> Verdict:
    return Verdict(Outcome.DENY, reason, forms)
