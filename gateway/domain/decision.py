"""Decisions are values with a reason; a denial is not an error."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Purpose(StrEnum):
    """HL7 PurposeOfUse."""

    TREATMENT = "TREAT"


class Outcome(StrEnum):
    PERMIT = "PERMIT"
    DENY = "DENY"


class Reason(StrEnum):
    """Stable codes; the words for people are in `explain`."""

    SAME_INSTITUTION = "same_institution"
    CONSENT_IN_FORCE = "consent_in_force"
    NOT_OPERATING = "not_operating"
    NO_CONSENT = "no_consent"
    WITHDRAWN = "withdrawn"
    MODALITY_NOT_EXCHANGEABLE = "modality_not_exchangeable"
    NO_ROUTE = "no_route"
    PEER_REMOVED = "peer_removed"


_WORDS: dict[Reason, tuple[str, str]] = {
    Reason.SAME_INSTITUTION: (
        "It stays inside one institution, which is not an exchange.",
        "같은 기관 안의 이동으로 교류에 해당하지 않습니다.",
    ),
    Reason.CONSENT_IN_FORCE: ("The patient's consent is in force.", "환자의 동의가 유효합니다."),
    Reason.NOT_OPERATING: (
        "One of the two institutions does not take part in the exchange at present.",
        "두 기관 중 한 곳이 현재 진료정보교류에 참여하고 있지 않습니다.",
    ),
    Reason.NO_CONSENT: ("The patient has not consented.", "환자의 동의가 등록되어 있지 않습니다."),
    Reason.WITHDRAWN: ("The patient has withdrawn the consent.", "환자가 동의를 철회했습니다."),
    Reason.MODALITY_NOT_EXCHANGEABLE: (
        "Only CT and MR studies and what belongs to them are exchanged.",
        "교류 대상은 CT·MR 영상과 그에 딸린 자료뿐입니다.",
    ),
    Reason.NO_ROUTE: (
        "No route says where it goes. Add one with `gateway route add`.",
        "전송 경로가 없습니다.",
    ),
    Reason.PEER_REMOVED: (
        "The destination, or the institution it was sent from, is no longer registered.",
        "목적지 또는 보낸 기관의 등록이 삭제되었습니다.",
    ),
}


def explain(reason: Reason) -> str:
    """The reason in one English sentence."""
    return _WORDS[reason][0]


def explain_korean(reason: Reason) -> str:
    """The reason in one Korean sentence."""
    return _WORDS[reason][1]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a pure rule says: may it go, and why. `forms` are the consent forms it rests on."""

    outcome: Outcome
    reason: Reason
    forms: tuple[str, ...] = ()

    @property
    def permitted(self) -> bool:
        return self.outcome is Outcome.PERMIT


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict as it is recorded: one per object, destination and consent epoch.

    `study_instance_uid` names the study; `document_id` is set when a document's release was asked for.
    """

    id: str
    decided_at: datetime
    study_instance_uid: str
    source_oid: str
    destination_oid: str
    verdict: Verdict
    consent_epoch: int
    purpose: Purpose = Purpose.TREATMENT
    document_id: str | None = None


def new_id() -> str:
    """A random identifier for decisions, forms, documents and records: 32 hexadecimal digits."""
    return uuid.uuid4().hex
