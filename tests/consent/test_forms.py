"""Forms and the state they fold into."""

from collections.abc import Iterable
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.consent.forms import (
    NO_CONSENT,
    ConsentForm,
    ConsentMode,
    EffectiveConsent,
    FormKind,
    apply,
    fold,
)
from gateway.errors import Conflict
from tests.build import form

CONSENT, WITHDRAWAL = FormKind.ENTIRE_CONSENT, FormKind.ENTIRE_WITHDRAWAL


def accepted(kinds: Iterable[FormKind]) -> list[ConsentForm]:
    """What is registered when these are handed in one after the other: what contradicts the state is refused."""
    forms: list[ConsentForm] = []
    for kind in kinds:
        candidate = form(kind)
        try:
            apply(fold(forms), candidate)
        except Conflict:
            continue
        forms.append(candidate)
    return forms


histories = st.lists(st.sampled_from(FormKind), max_size=12).map(accepted)


@pytest.mark.parametrize(
    ("kinds", "mode"),
    [
        ([], ConsentMode.NONE),
        ([CONSENT], ConsentMode.ACTIVE),
        ([CONSENT, CONSENT], ConsentMode.ACTIVE),
        ([CONSENT, WITHDRAWAL], ConsentMode.WITHDRAWN),
        ([CONSENT, WITHDRAWAL, CONSENT], ConsentMode.ACTIVE),
        ([CONSENT, CONSENT, WITHDRAWAL], ConsentMode.WITHDRAWN),
        ([CONSENT, WITHDRAWAL, CONSENT, WITHDRAWAL], ConsentMode.WITHDRAWN),
    ],
)
def test_state_rests_on_the_last_form(kinds: list[FormKind], mode: ConsentMode) -> None:
    forms = [form(kind) for kind in kinds]

    assert fold(forms) == EffectiveConsent(mode, tuple(f.id for f in forms[-1:]))


@pytest.mark.parametrize("kinds", [[WITHDRAWAL], [CONSENT, WITHDRAWAL, WITHDRAWAL]])
def test_nothing_to_withdraw(kinds: list[FormKind]) -> None:
    with pytest.raises(Conflict, match="no consent in force"):
        fold(form(kind) for kind in kinds)


def test_refused_form_changes_nothing() -> None:
    with pytest.raises(Conflict):
        apply(NO_CONSENT, form(WITHDRAWAL))

    assert EffectiveConsent(ConsentMode.NONE, ()) == NO_CONSENT


@given(histories)
def test_replaying_registrations_gives_the_same_state(history: list[ConsentForm]) -> None:
    step_by_step = list(accumulate(history, apply, initial=NO_CONSENT))[-1]

    assert fold(history) == fold(list(history)) == step_by_step


@given(histories)
def test_withdrawal_ends_whatever_was_in_force(history: list[ConsentForm]) -> None:
    if fold(history).mode is ConsentMode.ACTIVE:
        assert fold([*history, form(WITHDRAWAL)]).mode is ConsentMode.WITHDRAWN


@given(histories)
def test_consent_is_in_force_only_when_the_last_form_gives_it(history: list[ConsentForm]) -> None:
    last_gives = bool(history) and history[-1].kind is CONSENT

    assert (fold(history).mode is ConsentMode.ACTIVE) == last_gives


def test_policy_oids_of_the_national_exchange() -> None:
    assert CONSENT.policy_oid == "1.2.410.100110.40.2.2.2.2"
    assert WITHDRAWAL.policy_oid == "1.2.410.100110.40.2.2.2.4"
