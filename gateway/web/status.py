"""What the node decided and how far its deliveries are."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from gateway.domain.access import Caller, Role
from gateway.domain.decision import Decision, Outcome, Purpose, Reason, explain, explain_korean
from gateway.domain.transfer import DeliveryState
from gateway.metrics import Metrics
from gateway.store.decisions import list_decisions
from gateway.store.status import destination_statuses
from gateway.web.access import Context, requires
from gateway.web.problems import responses

router = APIRouter(prefix="/api/v1", tags=["status"])

DECISION_LIMIT_COUNT = 1000
"""Decisions in one answer; about 500 bytes each."""

Owner = Annotated[Caller, requires(Role.ADMINISTRATOR, Role.CLINICIAN, Role.DESK)]
Watcher = Annotated[Caller, requires(Role.ADMINISTRATOR, Role.MONITOR)]
StudyFilter = Annotated[
    str | None,
    Query(description="(0020,000D)", max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$"),
]
Limit = Annotated[int, Query(ge=1, le=DECISION_LIMIT_COUNT)]


class DecisionOut(BaseModel):
    """An answer to: may it go?"""

    id: str
    decided_at: datetime
    study_instance_uid: str
    document_id: str | None
    source_oid: str
    destination_oid: str
    purpose: Purpose
    outcome: Outcome
    reason: Reason
    explanation: str
    explanation_korean: str
    forms: list[str]
    consent_epoch: int

    @classmethod
    def of(cls, decision: Decision) -> "DecisionOut":
        verdict = decision.verdict
        return cls(
            id=decision.id,
            decided_at=decision.decided_at,
            study_instance_uid=decision.study_instance_uid,
            document_id=decision.document_id,
            source_oid=decision.source_oid,
            destination_oid=decision.destination_oid,
            purpose=decision.purpose,
            outcome=verdict.outcome,
            reason=verdict.reason,
            explanation=explain(verdict.reason),
            explanation_korean=explain_korean(verdict.reason),
            forms=list(verdict.forms),
            consent_epoch=decision.consent_epoch,
        )


class DecisionList(BaseModel):
    """Decisions, newest first."""

    decisions: list[DecisionOut]


class DestinationOut(BaseModel):
    """Deliveries to one AE title by state, and the oldest that waits."""

    ae_title: str
    deliveries: dict[DeliveryState, int]
    oldest_waiting: datetime | None


class AssociationsOut(BaseModel):
    """Associations open now with one AE title."""

    direction: str
    ae_title: str
    count: int


class StatusOut(BaseModel):
    """The node at this moment; nothing about studies or patients."""

    spool_free_bytes: int
    associations: list[AssociationsOut]
    destinations: list[DestinationOut]


@router.get(
    "/decisions",
    operation_id="listDecisions",
    summary="The latest decisions on what your institution owns, with their reasons.",
    responses=responses(),
)
def decisions(caller: Owner, context: Context, study: StudyFilter = None, limit: Limit = 100) -> DecisionList:
    """Reasons are for the owning institution alone: others get the bare fact of a refusal."""
    with context.database.read() as session:
        found = list_decisions(session, study_instance_uid=study, source_oid=caller.institution_oid, limit_count=limit)
    return DecisionList(decisions=[DecisionOut.of(decision) for decision in found])


@router.get(
    "/status",
    operation_id="getStatus",
    summary="Destinations, associations and free space.",
    responses=responses(),
)
def status(_caller: Watcher, context: Context) -> StatusOut:
    """The same numbers as in the metrics, and the ledger's counts."""
    with context.database.read() as session:
        destinations = destination_statuses(session)
    return StatusOut(
        spool_free_bytes=_spool_free_bytes(context.metrics),
        associations=_associations(context.metrics),
        destinations=[
            DestinationOut(
                ae_title=one.destination_ae_title,
                deliveries={state: one.counts.get(state, 0) for state in DeliveryState},
                oldest_waiting=one.oldest_waiting,
            )
            for one in destinations
        ],
    )


def _spool_free_bytes(metrics: Metrics) -> int:
    return int(sum(sample.value for family in metrics.spool_free_bytes.collect() for sample in family.samples))


def _associations(metrics: Metrics) -> list[AssociationsOut]:
    samples = [sample for family in metrics.associations.collect() for sample in family.samples]
    return [
        AssociationsOut(
            direction=sample.labels["direction"],
            ae_title=sample.labels["ae_title"],
            count=int(sample.value),
        )
        for sample in samples
        if sample.value
    ]
