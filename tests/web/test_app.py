"""The application as a whole: its description, its log, and that nothing of a patient comes out beside the answer."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.domain.access import Role
from tests.documents.node import new_uid, until
from tests.web.serving import Hospital, Served, documents_of


def events(stream: io.StringIO, name: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [event for event in found if event["event"] == name]


def test_nothing_of_a_patient_is_logged(served: Served, a: Hospital, b: Hospital, written: io.StringIO) -> None:
    study, patient = new_uid(), a.patient()
    canaries = [study, patient.patient_id, "홍길동", "Hong Gildong", "900101-1234567", "canary.pdf"]
    served.node.study(patient, study)
    letter = b"%PDF-1.7 Hong Gildong 900101-1234567 %%EOF"
    path = a.attached(study, letter, title="홍길동 의뢰")
    for hospital in (a, b):
        for place in (documents_of(study), path, f"{path}/content", f"/api/v1/decisions?study={study}"):
            hospital.clinician.get(place)
    a.consent(patient)
    a.consent(patient, "ENTIRE_WITHDRAWAL")
    a.consent(patient, "ENTIRE_WITHDRAWAL")
    a.attach(study, letter, patient_id="900101-1234567")
    a.attach(study, b"Hong Gildong", title="Hong Gildong")
    a.clinician.post(documents_of(study), data={"Hong Gildong": "x"}, files={"홍길동": ("canary.pdf", b"x")})
    a.clinician.post(
        documents_of(study), content=b"Hong Gildong", headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    a.desk.post("/api/v1/consents", json={"patient_id": ["홍길동"], "Hong Gildong": 1, "form": "홍길동"})
    a.desk.post("/api/v1/consents", content=b'{"patient_id": "Hong Gildong"')
    a.clinician.get("/Hong%20Gildong?x=900101-1234567")
    until(lambda: len(events(written, "rest_request")) == 19)  # each of the above
    text = written.getvalue()

    assert [canary for canary in canaries if canary in text] == []


def test_a_request_is_one_line(a: Hospital, written: io.StringIO) -> None:
    a.clinician.get(documents_of(new_uid()))
    until(lambda: bool(events(written, "rest_request")))  # written after the answer
    (event,) = events(written, "rest_request")
    known = {key: event[key] for key in ("method", "route", "http_status", "role")}

    assert known == {
        "method": "GET",
        "route": "/api/v1/studies/{StudyInstanceUID}/documents",
        "http_status": 200,
        "role": "CLINICIAN",
    }
    assert 0 < event["duration_s"] < 10
    assert set(event) == {*known, "duration_s", "event", "level", "logger", "timestamp"}


def test_answers_never_repeat_what_was_wrong(a: Hospital) -> None:
    canary = "홍길동900101"
    bodies: list[Any] = [
        {"patient_id": "1", "form": canary},
        {"patient_id": canary * 20, "form": "ENTIRE_CONSENT"},
        {"patient_id": [canary], "form": "ENTIRE_CONSENT"},
        {"patient_id": "1", "form": "ENTIRE_CONSENT", canary: canary},
        [canary],
        canary,
    ]
    answers = [a.desk.post("/api/v1/consents", json=body) for body in bodies]
    answers.append(a.desk.post("/api/v1/consents", content=canary.encode()))
    answers.append(a.desk.post("/api/v1/consents", content=canary.encode(), headers={"Content-Type": "text/plain"}))
    answers.append(a.clinician.get(documents_of(canary)))
    answers.append(a.clinician.get(f"/api/v1/decisions?study={canary}&limit={canary}"))
    answers.append(a.clinician.get(f"/{canary}"))

    assert {answer.status_code for answer in answers} <= {400, 404, 422}
    for answer in answers:
        assert answer.headers["content-type"] == "application/problem+json"
        assert canary not in json.loads(answer.text).__repr__()


@pytest.fixture
def description(a: Hospital) -> dict[str, Any]:
    found: dict[str, Any] = a.clinician.get("/openapi.json").json()
    return found


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in description["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_every_operation_is_named_and_tagged(description: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(description)]

    assert len(names) == len(set(names))
    assert all(operation["tags"] and operation["summary"] for _, _, operation in operations(description))


def test_every_operation_declares_its_problems(description: dict[str, Any]) -> None:
    for path, _, operation in operations(description):
        declared = {
            status
            for status, response in operation["responses"].items()
            if "application/problem+json" in response.get("content", {})
        }
        if path.startswith("/api"):
            assert {"401", "403", "422", "503"} <= declared
            assert operation["security"]
        assert "HTTPValidationError" not in json.dumps(operation)


def test_the_description_refers_to_nothing_that_is_not_there(description: dict[str, Any]) -> None:
    def references(value: Any) -> Iterator[str]:
        match value:
            case dict():
                if isinstance(value.get("$ref"), str):
                    yield value["$ref"]
                for inner in value.values():
                    yield from references(inner)
            case list():
                for inner in value:
                    yield from references(inner)

    found = set(references(description))
    schemas = {f"#/components/schemas/{name}" for name in description["components"]["schemas"]}

    assert "#/components/schemas/Problem" in found
    assert found <= schemas


def test_the_description_names_no_other_host(description: dict[str, Any]) -> None:
    assert "http://" not in json.dumps(description)
    assert "https://" not in json.dumps(description)


def test_security_headers_are_on_everything(served: Served, a: Hospital) -> None:
    with served.client() as nobody:
        answers = [nobody.get("/livez"), nobody.get("/openapi.json"), nobody.get("/x"), a.clinician.get("/x")]
    answers += [a.client(Role.MONITOR).get("/metrics"), a.clinician.delete("/livez"), a.attach("no uid")]
    path = a.attached(new_uid(), patient_id="1")
    answers.append(a.clinician.get(f"{path}/content"))

    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
