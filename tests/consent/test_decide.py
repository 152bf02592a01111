"""May it go?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.consent.decide import DisclosureRequest, decide
from gateway.consent.forms import NO_CONSENT, ConsentForm, ConsentMode, EffectiveConsent, FormKind, fold
from gateway.domain.decision import Outcome, Purpose, Reason, Verdict
from gateway.domain.instance import Content
from gateway.domain.institution import Institution, ParticipationState
from tests.build import HOSPITAL_A, HOSPITAL_B, form
from tests.consent.test_forms import histories

ACTIVE = EffectiveConsent(ConsentMode.ACTIVE, ("c1",))
WITHDRAWN = EffectiveConsent(ConsentMode.WITHDRAWN, ("w1",))
OPERATING, SUSPENDED = ParticipationState.OPERATING, ParticipationState.SUSPENDED
EXCHANGED = [Content.CT_OR_MR, Content.COMPANION, Content.DOCUMENT]

consents = st.builds(EffectiveConsent, st.sampled_from(ConsentMode), st.just(("f",)))
institutions = st.builds(
    Institution, st.sampled_from([HOSPITAL_A, HOSPITAL_B]), st.just("병원"), st.sampled_from(ParticipationState)
)
requests = st.builds(DisclosureRequest, institutions, institutions, st.sampled_from(Content), st.sampled_from(Purpose))


def request(
    content: Content = Content.CT_OR_MR,
    source: ParticipationState = OPERATING,
    destination: ParticipationState = OPERATING,
) -> DisclosureRequest:
    return DisclosureRequest(
        Institution(HOSPITAL_A, "A", source), Institution(HOSPITAL_B, "B", destination), content, Purpose.TREATMENT
    )


@pytest.mark.parametrize(
    ("asked", "consent", "verdict"),
    [
        (request(), ACTIVE, Verdict(Outcome.PERMIT, Reason.CONSENT_IN_FORCE, ("c1",))),
        (request(), NO_CONSENT, Verdict(Outcome.DENY, Reason.NO_CONSENT)),
        (request(), WITHDRAWN, Verdict(Outcome.DENY, Reason.WITHDRAWN, ("w1",))),
        (request(Content.COMPANION), ACTIVE, Verdict(Outcome.PERMIT, Reason.CONSENT_IN_FORCE, ("c1",))),
        (request(Content.DOCUMENT), ACTIVE, Verdict(Outcome.PERMIT, Reason.CONSENT_IN_FORCE, ("c1",))),
        (request(Content.OTHER), ACTIVE, Verdict(Outcome.DENY, Reason.MODALITY_NOT_EXCHANGEABLE)),
        (request(Content.OTHER), NO_CONSENT, Verdict(Outcome.DENY, Reason.MODALITY_NOT_EXCHANGEABLE)),
        (request(source=SUSPENDED), ACTIVE, Verdict(Outcome.DENY, Reason.NOT_OPERATING)),
        (request(destination=SUSPENDED), ACTIVE, Verdict(Outcome.DENY, Reason.NOT_OPERATING)),
        (request(Content.OTHER, SUSPENDED, SUSPENDED), WITHDRAWN, Verdict(Outcome.DENY, Reason.NOT_OPERATING)),
    ],
)
def test_between_two_institutions(asked: DisclosureRequest, consent: EffectiveConsent, verdict: Verdict) -> None:
    assert decide(asked, consent) == verdict


@given(requests, consents)
def test_inside_one_institution_everything_may_move(asked: DisclosureRequest, consent: EffectiveConsent) -> None:
    if asked.source.oid == asked.destination.oid:
        assert decide(asked, consent) == Verdict(Outcome.PERMIT, Reason.SAME_INSTITUTION)


@given(requests, consents)
def test_suspended_institutions_exchange_nothing(asked: DisclosureRequest, consent: EffectiveConsent) -> None:
    if asked.source.oid != asked.destination.oid and SUSPENDED in {asked.source.state, asked.destination.state}:
        assert decide(asked, consent).outcome is Outcome.DENY


@given(requests, consents)
def test_exchange_needs_consent_in_force(asked: DisclosureRequest, consent: EffectiveConsent) -> None:
    if asked.source.oid != asked.destination.oid and consent.mode is not ConsentMode.ACTIVE:
        assert decide(asked, consent).outcome is Outcome.DENY


@given(requests, histories)
def test_withdrawing_never_lets_anything_go(asked: DisclosureRequest, history: list[ConsentForm]) -> None:
    before = fold(history)
    if before.mode is not ConsentMode.ACTIVE:
        return
    after = fold([*history, form(FormKind.ENTIRE_WITHDRAWAL)])

    if decide(asked, before).outcome is Outcome.DENY:
        assert decide(asked, after).outcome is Outcome.DENY
    if asked.source.oid != asked.destination.oid:
        assert decide(asked, after).outcome is Outcome.DENY


@given(st.sampled_from(EXCHANGED), histories)
def test_permit_names_the_form_it_rests_on(content: Content, history: list[ConsentForm]) -> None:
    verdict = decide(request(content), fold(history))

    if verdict.permitted:
        assert verdict.forms == (history[-1].id,)
