"""Decisions and status: to whom they are shown, and that they hold nothing that is not theirs."""

from gateway.domain.access import Role
from gateway.domain.decision import Reason, explain, explain_korean
from gateway.domain.transfer import DeliveryState
from gateway.store.tables import DecisionRow, DeliveryRow, InstanceRow
from tests.documents.node import Node, new_patient_id, new_uid, until, utc_now
from tests.web.serving import Hospital, Served, is_problem


def a_delivery(node: Node, oid: str, ae_title: str) -> str:
    """An instance that waits for a destination; its study's UID."""
    study, record_id, decision_id = new_uid(), f"{ae_title:0>32}"[-32:], f"{ae_title:1>32}"[-32:]

    def operation(session):  # type: ignore[no-untyped-def]
        session.add(
            DecisionRow(
                id=decision_id, decided_at=utc_now(), study_instance_uid=study, source_oid=oid, destination_oid=oid,
                outcome="PERMIT", reason="same_institution", forms="[]", consent_epoch=1, purpose="TREAT",
            )
        )  # fmt: skip
        session.add(
            InstanceRow(
                record_id=record_id, sop_instance_uid=new_uid(), sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
                transfer_syntax_uid="1.2.840.10008.1.2", study_instance_uid=study, series_instance_uid=new_uid(),
                issuer_oid=oid, patient_id=new_patient_id(), calling_ae_title="A", data_bytes=1, sha256="0" * 64,
                received_at=utc_now(), state="SPOOLED",
            )
        )  # fmt: skip
        session.flush()
        session.add(
            DeliveryRow(
                record_id=record_id, destination_ae_title=ae_title, decision_id=decision_id, state="QUEUED",
                attempts=0, due_at=utc_now(), detail="",
            )
        )  # fmt: skip

    node.writer.write(operation)
    return study


def test_the_owner_sees_why(a: Hospital, b: Hospital) -> None:
    study = a.served.node.study(a.patient())
    path = a.attached(study)
    b.clinician.get(f"{path}/content")
    url = f"/api/v1/decisions?study={study}"
    until(lambda: len(a.clinician.get(url).json()["decisions"]) == 1)

    (decision,) = a.client(Role.ADMINISTRATOR).get(url).json()["decisions"]
    assert decision["document_id"] == path.rpartition("/")[2]
    assert (decision["source_oid"], decision["destination_oid"]) == (a.oid, b.oid)
    assert (decision["outcome"], decision["reason"]) == ("DENY", "no_consent")
    assert decision["explanation"] == explain(Reason.NO_CONSENT)
    assert decision["explanation_korean"] == explain_korean(Reason.NO_CONSENT)
    assert b.clinician.get(url).json() == {"decisions": []}


def test_the_latest_first_and_no_more_than_asked_for(a: Hospital) -> None:
    study = a.served.node.study(a.patient())
    for _ in range(3):
        a.clinician.get(a.attached(study))
    all_of_them = a.clinician.get("/api/v1/decisions").json()["decisions"]

    assert len(all_of_them) == 3
    assert all_of_them == sorted(all_of_them, key=lambda decision: decision["decided_at"], reverse=True)
    assert a.clinician.get("/api/v1/decisions?limit=2").json()["decisions"] == all_of_them[:2]


def test_bad_filters(a: Hospital) -> None:
    for query, field in (("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("study=x", "study")):
        assert is_problem(a.clinician.get(f"/api/v1/decisions?{query}"), 422, "invalid-request", field)


def test_status_counts_and_tells_of_no_study(served: Served, a: Hospital) -> None:
    study = a_delivery(served.node, a.oid, "STATUS_TEST")
    served.node.metrics.spool_free_bytes.set(123_456)
    served.node.metrics.associations.labels("inbound", "PEER_ONE").set(2)
    served.node.metrics.associations.labels("outbound", "PEER_TWO").set(0)
    response = a.client(Role.MONITOR).get("/api/v1/status")
    body = response.json()
    (destination,) = [one for one in body["destinations"] if one["ae_title"] == "STATUS_TEST"]

    assert body["spool_free_bytes"] == 123_456
    assert body["associations"] == [{"direction": "inbound", "ae_title": "PEER_ONE", "count": 2}]
    assert destination["deliveries"] == {state.value: int(state is DeliveryState.QUEUED) for state in DeliveryState}
    assert destination["oldest_waiting"]
    assert study not in response.text
