"""Where participation, consent and routing meet: who gets an instance, and may they?

A `Planner` answers from an `Authority`, whose view is never older than its owner's limit; when it cannot be read
that freshly the authority raises `DecisionUnavailable` and nothing leaves.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.consent.decide import DisclosureRequest, decide
from gateway.consent.forms import EffectiveConsent
from gateway.domain.decision import Decision, Outcome, Purpose, Reason, Verdict, new_id
from gateway.domain.instance import Content, InstanceHead
from gateway.domain.network import Network
from gateway.domain.peer import ApplicationEntity
from gateway.domain.person import PatientKey
from gateway.domain.transfer import Plan, PlannedDestination
from gateway.routing.router import matching_routes

REMEMBERED_DECISIONS_COUNT = 10_000
"""Decisions kept for reuse within one epoch; about 5 MB. Beyond it they are simply made again."""


class View(Protocol):
    """The network and the consents as of one epoch."""

    @property
    def network(self) -> Network: ...

    def consent(self, patient: PatientKey) -> EffectiveConsent: ...


class Authority(Protocol):
    """Whoever knows the registered network and the consents."""

    def view(self) -> View:
        """A fresh view.

        Raises:
            DecisionUnavailable: the state could not be read recently enough.
        """
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to be disclosed: whose it is, who holds it, what kind it is."""

    study_instance_uid: str
    patient: PatientKey
    source_oid: str
    content: Content


@dataclass(frozen=True, slots=True)
class _Question:
    """What a decision depends on besides the epoch; equal questions share one recorded decision."""

    subject: Subject
    destination_oid: str
    document_id: str | None = None
    purpose: Purpose = Purpose.TREATMENT


_PlanKey = tuple[str, PatientKey, str, ApplicationEntity, str]
"""Study, patient, SOP class, source and called AE title: what a plan depends on besides the epoch."""


class Planner:
    """Plans arrivals and decides releases. Safe to call from any thread."""

    def __init__(self, authority: Authority, clock: Callable[[], datetime]) -> None:
        self._authority = authority
        self._clock = clock
        self._lock = threading.Lock()
        self._remembered: dict[_Question, Decision] = {}
        self._plans: dict[_PlanKey, Plan] = {}
        self._remembered_epoch = -1

    def plan(self, head: InstanceHead, source: ApplicationEntity, called_ae_title: str) -> Plan:
        """Every destination the routes name for this instance, each with its decision.

        Raises:
            DecisionUnavailable: participation or consent cannot be read.
        """
        view = self._authority.view()
        epoch = view.network.epoch
        key = (head.study_instance_uid, head.patient, head.sop_class_uid, source, called_ae_title)
        with self._lock:
            if self._remembered_epoch == epoch and (known := self._plans.get(key)):
                return known
        destinations = []
        for route in matching_routes(view.network.routes, source.title, called_ae_title):
            subject = Subject(head.study_instance_uid, head.patient, source.institution_oid, head.content)
            decision = self._decide_delivery(view, subject, route.destination_ae_title)
            destinations.append(PlannedDestination(route.destination_ae_title, route.name, decision))
        plan = Plan(tuple(destinations))
        with self._lock:
            if len(self._plans) >= REMEMBERED_DECISIONS_COUNT:
                self._plans.clear()
            if self._remembered_epoch == epoch:
                self._plans[key] = plan
        return plan

    def decide_delivery(self, subject: Subject, destination_ae_title: str) -> Decision:
        """The decision on an instance that is about to leave; asked again for every delivery.

        Raises:
            DecisionUnavailable: participation or consent cannot be read.
        """
        return self._decide_delivery(self._authority.view(), subject, destination_ae_title)

    def decide_document(self, document_id: str, subject: Subject, reader_oid: str) -> Decision:
        """The decision on releasing a document to a reader's institution.

        Raises:
            DecisionUnavailable: participation or consent cannot be read.
        """
        return self._decide(self._authority.view(), _Question(subject, reader_oid, document_id))

    def _decide_delivery(self, view: View, subject: Subject, destination_ae_title: str) -> Decision:
        destination = view.network.institution_of(destination_ae_title)
        return self._decide(view, _Question(subject, destination.oid if destination else ""))

    def _decide(self, view: View, question: _Question) -> Decision:
        epoch = view.network.epoch
        with self._lock:
            if self._remembered_epoch == epoch and (known := self._remembered.get(question)):
                return known
        decision = Decision(
            id=new_id(),
            decided_at=self._clock(),
            study_instance_uid=question.subject.study_instance_uid,
            source_oid=question.subject.source_oid,
            destination_oid=question.destination_oid,
            verdict=self._verdict(view, question),
            consent_epoch=epoch,
            purpose=question.purpose,
            document_id=question.document_id,
        )
        return self._remember(question, decision)

    def _verdict(self, view: View, question: _Question) -> Verdict:
        source = view.network.institutions.get(question.subject.source_oid)
        destination = view.network.institutions.get(question.destination_oid)
        if source is None or destination is None:
            return Verdict(Outcome.DENY, Reason.PEER_REMOVED)
        request = DisclosureRequest(source, destination, question.subject.content, question.purpose)
        return decide(request, view.consent(question.subject.patient))

    def _remember(self, question: _Question, decision: Decision) -> Decision:
        """Keep the first decision of an epoch, so that parallel associations refer to the same one."""
        with self._lock:
            if self._remembered_epoch > decision.consent_epoch:
                return decision
            if self._remembered_epoch < decision.consent_epoch or len(self._remembered) >= REMEMBERED_DECISIONS_COUNT:
                self._remembered.clear()
                self._plans.clear()
                self._remembered_epoch = decision.consent_epoch
            return self._remembered.setdefault(question, decision)
