"""Consent over HTTP: registered, looked up, in effect at once, and each hospital sees its own patients."""

from datetime import UTC, datetime

import pytest

from gateway.domain.person import PatientKey
from tests.documents.node import new_patient_id
from tests.web.serving import Hospital, is_problem


def look_up(hospital: Hospital, patient_id: str) -> dict[str, object]:
    body: dict[str, object] = hospital.desk.post("/api/v1/consents/lookup", json={"patient_id": patient_id}).json()
    return body


def test_a_consent_and_its_withdrawal(a: Hospital) -> None:
    patient = a.patient()
    consent = a.consent(patient)
    withdrawal = a.consent(patient, "ENTIRE_WITHDRAWAL")

    assert (consent.status_code, withdrawal.status_code) == (201, 201)
    assert (consent.json()["mode"], withdrawal.json()["mode"]) == ("ACTIVE", "WITHDRAWN")
    assert consent.json()["form"] == "ENTIRE_CONSENT"
    assert datetime.fromisoformat(consent.json()["registered_at"]).tzinfo == UTC
    assert look_up(a, patient.patient_id) == {
        "mode": "WITHDRAWN",
        "forms": [{key: form.json()[key] for key in ("id", "form", "registered_at")} for form in (consent, withdrawal)],
    }


def test_it_holds_when_it_is_answered(a: Hospital, b: Hospital) -> None:
    patient = a.patient()
    path = a.attached(a.served.node.study(patient))
    seen = []
    for form in ("ENTIRE_CONSENT", "ENTIRE_WITHDRAWAL") * 5:
        a.consent(patient, form)
        seen.append(b.clinician.get(path).status_code)

    assert seen == [200, 404] * 5


def test_nothing_to_withdraw(a: Hospital) -> None:
    patient = a.patient()

    assert is_problem(a.consent(patient, "ENTIRE_WITHDRAWAL"), 409, "conflict")
    assert look_up(a, patient.patient_id) == {"mode": "NONE", "forms": []}


def test_the_same_number_at_two_hospitals_is_two_patients(a: Hospital, b: Hospital) -> None:
    patient = a.patient()
    a.consent(patient)

    assert look_up(a, patient.patient_id)["mode"] == "ACTIVE"
    assert look_up(b, patient.patient_id) == {"mode": "NONE", "forms": []}
    assert is_problem(b.consent(PatientKey(b.oid, patient.patient_id), "ENTIRE_WITHDRAWAL"), 409, "conflict")


def test_a_clinician_may_look_it_up(a: Hospital) -> None:
    patient = a.patient()
    a.consent(patient)
    response = a.clinician.post("/api/v1/consents/lookup", json={"patient_id": patient.patient_id})

    assert response.json()["mode"] == "ACTIVE"


@pytest.mark.parametrize("path", ["/api/v1/consents", "/api/v1/consents/lookup"])
@pytest.mark.parametrize(
    "patient_id", ["", " ", "x" * 65, "900101-1234567", "9001011234567", "a\\b", "a\nb", None, 1, []]
)
def test_what_is_no_patient_id(a: Hospital, path: str, patient_id: object) -> None:
    body = {"patient_id": patient_id} | ({"form": "ENTIRE_CONSENT"} if path.endswith("consents") else {})
    response = a.desk.post(path, json=body)
    (error,) = response.json()["errors"]

    assert response.status_code == 422
    assert error["field"] == "patient_id"
    assert "900101" not in response.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"patient_id": "1"}, "form"),
        ({"patient_id": "1", "form": "PARTIAL_CONSENT"}, "form"),
        ({"form": "ENTIRE_CONSENT"}, "patient_id"),
        ({"patient_id": "1", "form": "ENTIRE_CONSENT", "registered_at": "2020-01-01"}, "body"),
        ([], "body"),
    ],
)
def test_what_is_no_registration(a: Hospital, body: object, field: str) -> None:
    assert is_problem(a.desk.post("/api/v1/consents", json=body), 422, "invalid-request", field)


def test_what_is_no_json(a: Hospital) -> None:
    response = a.desk.post("/api/v1/consents", content=b'{"patient_id":', headers={"Content-Type": "application/json"})

    assert response.status_code == 400
    assert response.json()["type"] == "/problems/malformed"


def test_a_body_that_is_too_large(a: Hospital) -> None:
    body = {"patient_id": new_patient_id(), "form": "x" * 100_000}

    pieces = iter([b'{"patient_id": "1", "form": "'] + [b"x" * 1000] * 100)
    headers = {"Content-Type": "application/json"}

    assert is_problem(a.desk.post("/api/v1/consents", json=body), 413, "too-large")
    assert is_problem(a.desk.post("/api/v1/consents", content=pieces, headers=headers), 413, "too-large")
