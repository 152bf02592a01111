"""Plans and routes."""

import pytest

from gateway.domain.decision import Outcome, Reason
from gateway.domain.transfer import DeliveryId, Plan, Route, delivery_of
from gateway.errors import InputError
from tests.build import HOSPITAL_A, NOON, PACS_A, PACS_B, delivery, plan, record


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


def test_delivery_is_known_by_its_record_and_destination() -> None:
    made = delivery(record_id="r", destination_ae_title=PACS_B)

    assert made.id == DeliveryId("r", PACS_B)
    assert made.id != delivery(record_id="r", destination_ae_title=PACS_A).id


@pytest.mark.parametrize("is_arriving", [True, False])
def test_first_delivery_of_a_record_says_what_the_record_says(is_arriving: bool) -> None:
    made = record(b"x" * 10, plan=plan(PACS_A, PACS_B))
    planned = made.plan.destinations[1]

    first = delivery_of(made, planned, is_arriving=is_arriving)

    assert first.id == DeliveryId(made.record_id, PACS_B)
    assert first.decision_id == planned.decision.id
    assert (first.sop_class_uid, first.sop_instance_uid) == (made.head.sop_class_uid, made.head.sop_instance_uid)
    assert (first.study_instance_uid, first.patient) == (made.head.study_instance_uid, made.head.patient)
    assert first.transfer_syntax_uid == made.head.transfer_syntax_uid
    assert (first.source_oid, first.calling_ae_title) == (HOSPITAL_A, PACS_A)
    assert (first.data_bytes, first.sha256, first.xxh3_128) == (10, made.sha256, made.xxh3_128)
    assert (first.due_at, first.attempts, first.is_arriving) == (NOON, 0, is_arriving)


@pytest.mark.parametrize("name", ["a", "from A to B", "x" * 40, "A병원-B병원"])
def test_names_of_routes(name: str) -> None:
    assert Route(name, PACS_B, PACS_A).name == name


@pytest.mark.parametrize("name", ["", " ", " a", "x" * 41, "a\nb", "a\x00"])
def test_names_of_routes_that_are_none(name: str) -> None:
    with pytest.raises(InputError, match="route name"):
        Route(name, PACS_B)
