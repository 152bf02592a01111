"""Reasons and identifiers."""

import pytest

from gateway.domain.decision import Outcome, Reason, Verdict, explain, explain_korean, new_id


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_explained_in_both_languages(reason: Reason) -> None:
    assert explain(reason).endswith(".")
    assert explain(reason).isascii()
    assert any("가" <= character <= "힣" for character in explain_korean(reason))


@pytest.mark.parametrize("reason", list(Reason))
def test_reasons_fit_where_they_are_kept(reason: Reason) -> None:
    assert len(reason) <= 40
    assert reason == reason.lower()


def test_only_permit_permits() -> None:
    assert Verdict(Outcome.PERMIT, Reason.CONSENT_IN_FORCE).permitted
    assert not Verdict(Outcome.DENY, Reason.NO_CONSENT).permitted


def test_identifiers_are_random_hexadecimal_digits() -> None:
    ids = {new_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(len(each) == 32 and set(each) <= set("0123456789abcdef") for each in ids)
