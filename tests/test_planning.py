"""Where participation, consent and routing meet."""

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from gateway.consent.forms import ConsentMode, EffectiveConsent
from gateway.domain.decision import Decision, Outcome, Purpose, Reason
from gateway.domain.instance import Content
from gateway.domain.institution import ParticipationState
from gateway.domain.peer import ApplicationEntity
from gateway.domain.person import PatientKey
from gateway.domain.transfer import Plan, Route
from gateway.errors import DecisionUnavailable
from gateway.planning import REMEMBERED_DECISIONS_COUNT, Planner, Subject
from tests.build import (
    CONSENT_GIVEN,
    HOSPITAL_A,
    HOSPITAL_B,
    NOON,
    PACS_A,
    PACS_B,
    PATIENT,
    Registry,
    ae,
    head,
    network,
)

GIVEN = CONSENT_GIVEN
WITHDRAWN = EffectiveConsent(ConsentMode.WITHDRAWN, ("w1",))
SUBJECT = Subject("1.2.3", PATIENT, HOSPITAL_A, Content.CT_OR_MR)


def planner(registry: Registry) -> Planner:
    return Planner(registry, lambda: NOON)


SENDER = ae(PACS_A, HOSPITAL_A)


def test_plan_names_every_destination_and_its_decision() -> None:
    instance = head()

    plan = planner(Registry()).plan(instance, SENDER, "GATEWAY")

    (planned,) = plan.destinations
    assert (planned.ae_title, planned.route) == (PACS_B, "a-to-b")
    assert planned.decision == Decision(
        id=planned.decision.id,
        decided_at=NOON,
        study_instance_uid=instance.study_instance_uid,
        source_oid=HOSPITAL_A,
        destination_oid=HOSPITAL_B,
        verdict=planned.decision.verdict,
        consent_epoch=1,
        purpose=Purpose.TREATMENT,
        document_id=None,
    )
    assert planned.decision.verdict.forms == ("c1",)
    assert plan.permitted == plan.destinations


def test_plan_keeps_denied_destinations_beside_permitted_ones() -> None:
    routes = (Route("1", PACS_B), Route("2", PACS_A))
    registry = Registry(network(routes=routes), consents={})

    plan = planner(registry).plan(head(), SENDER, "GATEWAY")

    reasons = [planned.decision.verdict.reason for planned in plan.destinations]
    assert reasons == [Reason.NO_CONSENT, Reason.SAME_INSTITUTION]
    assert [planned.ae_title for planned in plan.permitted] == [PACS_A]


def test_no_route_is_a_plan_without_destinations() -> None:
    plan = planner(Registry(network(routes=()))).plan(head(), SENDER, "GATEWAY")

    assert plan.destinations == ()
    assert plan.reason is Reason.NO_ROUTE


def test_sender_counts_as_source_whatever_the_data_set_says() -> None:
    elsewhere = PatientKey(HOSPITAL_B, "B-7")
    registry = Registry(consents={PATIENT: GIVEN})

    plan = planner(registry).plan(head(patient=elsewhere), SENDER, "GATEWAY")

    assert plan.destinations[0].decision.source_oid == HOSPITAL_A
    assert plan.reason is Reason.NO_CONSENT  # the consent of one patient is not that of another


@pytest.mark.parametrize(
    ("registry", "reason"),
    [
        (Registry(consents={}), Reason.NO_CONSENT),
        (Registry(consents={PATIENT: WITHDRAWN}), Reason.WITHDRAWN),
        (Registry(network(states={HOSPITAL_A: ParticipationState.SUSPENDED})), Reason.NOT_OPERATING),
        (Registry(network(states={HOSPITAL_B: ParticipationState.SUSPENDED})), Reason.NOT_OPERATING),
        (Registry(replace(network(), application_entities={})), Reason.PEER_REMOVED),
        (Registry(replace(network(), institutions={})), Reason.PEER_REMOVED),
    ],
)
def test_why_a_delivery_may_not_go(registry: Registry, reason: Reason) -> None:
    verdict = planner(registry).decide_delivery(SUBJECT, PACS_B).verdict

    assert (verdict.outcome, verdict.reason) == (Outcome.DENY, reason)


def test_modality_that_is_not_exchanged() -> None:
    decision = planner(Registry()).decide_delivery(replace(SUBJECT, content=Content.OTHER), PACS_B)

    assert decision.verdict.reason is Reason.MODALITY_NOT_EXCHANGEABLE


def test_document_is_decided_for_its_reader_and_recorded_by_its_id() -> None:
    decision = planner(Registry()).decide_document("d" * 32, replace(SUBJECT, content=Content.DOCUMENT), HOSPITAL_B)

    assert decision.verdict.permitted
    assert (decision.destination_oid, decision.document_id) == (HOSPITAL_B, "d" * 32)


def test_one_decision_per_study_destination_and_epoch() -> None:
    registry = Registry()
    asked = planner(registry)
    first = asked.decide_delivery(SUBJECT, PACS_B)

    assert asked.decide_delivery(SUBJECT, PACS_B) is first
    assert asked.decide_delivery(replace(SUBJECT, study_instance_uid="1.2.4"), PACS_B) is not first
    assert asked.decide_delivery(SUBJECT, PACS_A) is not first
    assert asked.decide_document("d", SUBJECT, HOSPITAL_B) is not first

    registry.change()
    again = asked.decide_delivery(SUBJECT, PACS_B)

    assert again.id != first.id
    assert again.consent_epoch == first.consent_epoch + 1


def test_withdrawal_is_seen_by_the_next_question() -> None:
    registry = Registry()
    asked = planner(registry)
    assert asked.decide_delivery(SUBJECT, PACS_B).verdict.permitted

    registry.change(consents={PATIENT: WITHDRAWN})

    assert asked.decide_delivery(SUBJECT, PACS_B).verdict.reason is Reason.WITHDRAWN


def test_nothing_is_decided_on_a_state_that_cannot_be_read() -> None:
    registry = Registry()
    asked = planner(registry)
    asked.decide_delivery(SUBJECT, PACS_B)
    registry.readable = False

    with pytest.raises(DecisionUnavailable):
        asked.decide_delivery(SUBJECT, PACS_B)
    with pytest.raises(DecisionUnavailable):
        asked.decide_document("d", SUBJECT, HOSPITAL_B)
    with pytest.raises(DecisionUnavailable):
        asked.plan(head(), SENDER, "GATEWAY")


def test_parallel_questions_share_one_decision() -> None:
    asked = planner(Registry())
    start = threading.Barrier(8)
    decisions: list[Decision] = []

    def ask() -> None:
        start.wait()
        decisions.extend(
            asked.decide_delivery(replace(SUBJECT, study_instance_uid=f"1.{n}"), PACS_B) for n in range(50)
        )

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(decisions) == 8 * 50
    assert len({decision.id for decision in decisions}) == 50


def test_answer_on_an_earlier_epoch_is_not_remembered() -> None:
    """A question that was asked before a change and answered after it."""
    registry = Registry()
    asked = planner(registry)
    before = registry.view()
    registry.change(consents={PATIENT: WITHDRAWN})
    asked.decide_delivery(SUBJECT, PACS_B)

    registry.network, registry.consents = before.network, before.consents
    late = asked.decide_delivery(SUBJECT, PACS_B)
    registry.change(consents={PATIENT: WITHDRAWN})

    assert late.consent_epoch == 1
    assert not asked.decide_delivery(SUBJECT, PACS_B).verdict.permitted


# --- whole plans ------------------------------------------------------------------------------------------------------


def test_instances_of_a_study_share_one_plan() -> None:
    asked = planner(Registry())
    first = head()

    plan = asked.plan(first, SENDER, "GATEWAY")

    assert asked.plan(head(study_instance_uid=first.study_instance_uid), SENDER, "GATEWAY") is plan


@pytest.mark.parametrize(
    "changes",
    [
        {"study_instance_uid": "1.2.9"},
        {"patient": PatientKey(HOSPITAL_A, "A-2")},
        {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4"},
    ],
)
def test_another_subject_has_a_plan_of_its_own(changes: dict[str, Any]) -> None:
    asked = planner(Registry())
    first = head()
    plan = asked.plan(first, SENDER, "GATEWAY")

    other = asked.plan(replace(first, **changes), SENDER, "GATEWAY")

    assert other is not plan
    assert asked.plan(first, SENDER, "GATEWAY") is plan


def test_plan_is_that_of_its_sender_and_the_title_it_called() -> None:
    routes = (
        Route("1", PACS_B, PACS_A, "GATEWAY"),
        Route("2", PACS_A, PACS_B, "GATEWAY"),
        Route("3", PACS_A, PACS_A, "OTHER"),
    )
    asked = planner(Registry(network(routes=routes)))
    instance = head()

    def destinations(sender: ApplicationEntity, called: str) -> list[tuple[str, str]]:
        plan = asked.plan(instance, sender, called)
        return [(planned.route, planned.decision.source_oid) for planned in plan.destinations]

    for _ in range(2):  # made, and remembered
        assert destinations(SENDER, "GATEWAY") == [("1", HOSPITAL_A)]
        assert destinations(SENDER, "OTHER") == [("3", HOSPITAL_A)]
        assert destinations(ae(PACS_B, HOSPITAL_B), "GATEWAY") == [("2", HOSPITAL_B)]
        assert destinations(ae(PACS_A, HOSPITAL_B), "GATEWAY") == [("1", HOSPITAL_B)]


def test_change_of_consent_is_seen_by_the_next_instance_of_the_study() -> None:
    registry = Registry()
    asked = planner(registry)
    instance = head()
    before = asked.plan(instance, SENDER, "GATEWAY")

    registry.change(consents={PATIENT: WITHDRAWN})
    after = asked.plan(instance, SENDER, "GATEWAY")

    assert before.permitted
    assert after.reason is Reason.WITHDRAWN
    assert after.destinations[0].decision.consent_epoch == before.destinations[0].decision.consent_epoch + 1


def test_change_of_consent_is_seen_by_the_next_instance_of_every_study() -> None:
    """That of one makes no plan valid again that another has from before the change."""
    registry = Registry()
    asked = planner(registry)
    one, other = head(), head()
    assert asked.plan(one, SENDER, "GATEWAY").permitted
    assert asked.plan(other, SENDER, "GATEWAY").permitted

    registry.change(consents={PATIENT: WITHDRAWN})

    assert not asked.plan(one, SENDER, "GATEWAY").permitted
    assert not asked.plan(other, SENDER, "GATEWAY").permitted


def test_change_of_routes_is_seen_by_the_next_instance_of_the_study() -> None:
    registry = Registry()
    asked = planner(registry)
    instance = head()
    for routes, expected in (((), []), (network().routes, [PACS_B]), ((), [])):
        registry.change(network(epoch=registry.network.epoch, routes=routes))
        for _ in range(2):
            plan = asked.plan(instance, SENDER, "GATEWAY")
            assert [planned.ae_title for planned in plan.destinations] == expected


def test_no_plan_is_remembered_on_a_state_that_cannot_be_read() -> None:
    registry = Registry()
    asked = planner(registry)
    instance = head()
    asked.plan(instance, SENDER, "GATEWAY")
    registry.readable = False

    with pytest.raises(DecisionUnavailable):
        asked.plan(instance, SENDER, "GATEWAY")


def test_plan_on_an_earlier_epoch_is_not_remembered() -> None:
    """An instance that was asked about before a withdrawal, and answered after it."""
    registry = Registry()
    asked = planner(registry)
    instance = head()
    before = registry.view()
    registry.change(consents={PATIENT: WITHDRAWN})
    asked.plan(head(), SENDER, "GATEWAY")

    registry.network, registry.consents = before.network, before.consents
    late = asked.plan(instance, SENDER, "GATEWAY")
    registry.change(consents={PATIENT: WITHDRAWN})

    assert late.permitted
    assert not asked.plan(instance, SENDER, "GATEWAY").permitted


def test_parallel_senders_share_the_decisions_of_a_plan() -> None:
    asked = planner(Registry())
    instance = head()
    start = threading.Barrier(8)
    plans: list[Plan] = []

    def ask() -> None:
        start.wait()
        plans.extend(asked.plan(instance, SENDER, "GATEWAY") for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(plans) == 8 * 50
    assert len({planned.decision.id for plan in plans for planned in plan.destinations}) == 1


def test_memory_for_plans_is_bounded() -> None:
    """As many plans as a sender likes, on few decisions."""
    asked = planner(Registry())
    instance = head()
    first = asked.plan(instance, SENDER, "GATEWAY")

    for number in range(REMEMBERED_DECISIONS_COUNT):
        asked.plan(replace(instance, sop_class_uid=f"1.2.{number}"), SENDER, "GATEWAY")

    again = asked.plan(instance, SENDER, "GATEWAY")
    assert again is not first
    assert again == first


# --- bounds -----------------------------------------------------------------------------------------------------------


def studies(count: int) -> Iterable[Subject]:
    return (replace(SUBJECT, study_instance_uid=f"1.{number}") for number in range(count))


def test_memory_for_decisions_is_bounded() -> None:
    asked = planner(Registry())
    first = asked.decide_delivery(next(iter(studies(1))), PACS_B)

    for subject in studies(REMEMBERED_DECISIONS_COUNT + 1):
        asked.decide_delivery(subject, PACS_B)

    assert asked.decide_delivery(next(iter(studies(1))), PACS_B).id != first.id
