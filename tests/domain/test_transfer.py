"""Plans and routes."""

import pytest

from gateway.domain.decision import Outcome, Reason
from gateway.domain.transfer import Plan, Route
from gateway.errors import InputError
from tests.build import PACS_A, PACS_B, plan


def test_plan_without_destinations_has_no_route() -> None:
    assert Plan(()).permitted == ()
    assert Plan(()).reason is Reason.NO_ROUTE


def test_plan_permits_only_what_was_permitted() -> None:
    planned = plan("ONE", "TWO", denied=("THREE",))

    assert [d.ae_title for d in planned.permitted] == ["ONE", "TWO"]
    assert [d.ae_title for d in planned.destinations] == ["ONE", "TWO", "THREE"]


def test_reason_of_a_plan_is_that_of_the_first_permit() -> None:
    denied_first = Plan((*plan(denied=("ONE",)).destinations, *plan("TWO").destinations))

    assert denied_first.destinations[0].decision.verdict.outcome is Outcome.DENY
    assert denied_first.reason is Reason.CONSENT_IN_FORCE


def test_reason_of_a_plan_that_permits_nothing_is_that_of_the_first_denial() -> None:
    assert plan(denied=("ONE", "TWO")).reason is Reason.NO_CONSENT


@pytest.mark.parametrize("name", ["a", "from A to B", "x" * 40, "A병원-B병원"])
def test_names_of_routes(name: str) -> None:
    assert Route(name, PACS_B, PACS_A).name == name


@pytest.mark.parametrize("name", ["", " ", " a", "x" * 41, "a\nb", "a\x00"])
def test_names_of_routes_that_are_none(name: str) -> None:
    with pytest.raises(InputError, match="route name"):
        Route(name, PACS_B)
