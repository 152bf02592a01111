"""Liveness, readiness and metrics."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from gateway.domain.access import Role
from tests.documents.node import new_uid
from tests.web.serving import Hospital, is_problem, serving


def test_not_ready_says_why(tmp_path: Path) -> None:
    reasons = ["the spool's disk failed"]
    with serving(tmp_path, lambda: reasons) as served, served.client() as client:
        response = client.get("/readyz")
        alive = client.get("/livez")
        reasons.clear()
        ready = client.get("/readyz")

    assert is_problem(response, 503, "unavailable", "node")
    assert response.json()["errors"][0]["message"] == "the spool's disk failed"
    assert alive.status_code == 200
    assert ready.status_code == 200


def test_metrics_are_counted_and_can_be_read_by_prometheus(a: Hospital) -> None:
    def kept() -> float:
        text = a.client(Role.MONITOR).get("/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        labels = {"action": "attach", "result": "kept"}
        wanted = [s.value for s in samples if s.name == "dicom_gateway_documents_total" and s.labels == labels]
        return sum(wanted)

    before = kept()
    a.attached(new_uid(), patient_id="1")

    assert kept() == before + 1


def test_metrics_name_no_study(a: Hospital) -> None:
    study = new_uid()
    a.clinician.get(a.attached(study, patient_id="P-CANARY-1"))
    text = a.client(Role.MONITOR).get("/metrics").text

    assert study not in text
    assert "P-CANARY-1" not in text
