"""A spool record's trailer: JSON with every field by name, so that a record explains itself without the database."""

import json
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring as _text
from typing import Any

from gateway.domain.decision import Decision, Outcome, Purpose, Reason, Verdict
from gateway.domain.instance import InstanceHead
from gateway.domain.person import PatientKey
from gateway.domain.transfer import Arrival, Plan, PlannedDestination, SpoolRecord
from gateway.errors import InputError, SpoolCorrupt

TRAILER_VERSION = 1

REMEMBERED_COUNT = 256
"""Arrivals and plans in use at once: one for each association, and each study on it."""


def encode_trailer(record: SpoolRecord) -> bytes:
    """The trailer of a record."""
    head = record.head
    fields = (
        ("version", str(TRAILER_VERSION)),
        ("record_id", _text(record.record_id)),
        ("received_at", _text(record.received_at.isoformat())),
        ("data_bytes", str(record.data_bytes)),
        ("sha256", _text(record.sha256)),
        ("xxh3_128", _text(record.xxh3_128) if record.xxh3_128 else "null"),
        (
            "head",
            _object(
                ("sop_class_uid", _text(head.sop_class_uid)),
                ("sop_instance_uid", _text(head.sop_instance_uid)),
                ("study_instance_uid", _text(head.study_instance_uid)),
                ("series_instance_uid", _text(head.series_instance_uid)),
                ("transfer_syntax_uid", _text(head.transfer_syntax_uid)),
                ("issuer_oid", _text(head.patient.issuer_oid)),
                ("patient_id", _text(head.patient.patient_id)),
                ("accession_number", _text(head.accession_number)),
                ("modality", _text(head.modality)),
            ),
        ),
        ("arrival", _arrival_to_json(record.arrival)),
        ("plan", _plan_to_json(record.plan)),
    )
    return _object(*fields).encode()


def _object(*fields: tuple[str, str]) -> str:
    """A JSON object of fields that are JSON already: a fifth of the time `json.dumps` takes for every instance."""
    return "{" + ",".join([f'"{name}":{value}' for name, value in fields]) + "}"


# What the instances of a series have in common is put into words once.


@lru_cache(maxsize=REMEMBERED_COUNT)
def _arrival_to_json(arrival: Arrival) -> str:
    return _dumps(
        {
            "calling_ae_title": arrival.calling_ae_title,
            "called_ae_title": arrival.called_ae_title,
            "address": arrival.address,
            "institution_oid": arrival.institution_oid,
            "association_id": arrival.association_id,
        }
    )


@lru_cache(maxsize=REMEMBERED_COUNT)
def _plan_to_json(plan: Plan) -> str:
    return _dumps(
        [
            {"ae_title": d.ae_title, "route": d.route, "decision": _decision_to_json(d.decision)}
            for d in plan.destinations
        ]
    )


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def decode_trailer(trailer: bytes) -> SpoolRecord:
    """The record a trailer describes.

    Raises:
        SpoolCorrupt: it is not a trailer this version understands.
    """
    try:
        fields = json.loads(trailer)
        if fields["version"] != TRAILER_VERSION:
            raise SpoolCorrupt("a spool record was written by a newer version of the gateway; upgrade before starting")
        head = dict(fields["head"])
        patient = PatientKey(head.pop("issuer_oid"), head.pop("patient_id"))
        return SpoolRecord(
            record_id=fields["record_id"],
            head=InstanceHead(patient=patient, **head),
            data_bytes=fields["data_bytes"],
            sha256=fields["sha256"],
            xxh3_128=fields.get("xxh3_128"),
            received_at=datetime.fromisoformat(fields["received_at"]),
            arrival=Arrival(**fields["arrival"]),
            plan=Plan(
                tuple(
                    PlannedDestination(d["ae_title"], d["route"], _decision_from_json(d["decision"]))
                    for d in fields["plan"]
                )
            ),
        )
    except (ValueError, KeyError, TypeError, InputError) as error:
        raise SpoolCorrupt("a spool record's trailer cannot be understood") from error


def _decision_to_json(decision: Decision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "decided_at": decision.decided_at.isoformat(),
        "study_instance_uid": decision.study_instance_uid,
        "source_oid": decision.source_oid,
        "destination_oid": decision.destination_oid,
        "outcome": decision.verdict.outcome,
        "reason": decision.verdict.reason,
        "forms": decision.verdict.forms,
        "consent_epoch": decision.consent_epoch,
        "purpose": decision.purpose,
    }


def _decision_from_json(fields: dict[str, Any]) -> Decision:
    return Decision(
        id=fields["id"],
        decided_at=datetime.fromisoformat(fields["decided_at"]),
        study_instance_uid=fields["study_instance_uid"],
        source_oid=fields["source_oid"],
        destination_oid=fields["destination_oid"],
        verdict=Verdict(Outcome(fields["outcome"]), Reason(fields["reason"]), tuple(fields["forms"])),
        consent_epoch=fields["consent_epoch"],
        purpose=Purpose(fields["purpose"]),
    )
