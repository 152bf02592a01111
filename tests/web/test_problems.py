"""The table from error to status: complete, and without a word of what was sent."""

import json

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from gateway import errors
from gateway.web.problems import problem_of

TABLE = [
    (errors.DocumentRejected("title: too long", "title"), 422, "invalid-request"),
    (errors.NotPermitted("no"), 403, "not-permitted"),
    (errors.NotFound("no"), 404, "not-found"),
    (errors.Conflict("no"), 409, "conflict"),
    (errors.InputError("no"), 422, "invalid-request"),
    (errors.DecisionUnavailable("canary"), 503, "unavailable"),
    (errors.StoreUnavailable("canary"), 503, "unavailable"),
    (errors.SpoolFull("canary"), 503, "unavailable"),
    (errors.NetworkError("canary"), 500, "internal-error"),
    (errors.LocalProtocolError("canary"), 500, "internal-error"),
    (ValueError("canary"), 500, "internal-error"),
    (HTTPException(413, "large"), 413, "too-large"),
    (HTTPException(405), 405, "method-not-allowed"),
    (HTTPException(418), 500, "internal-error"),
]


@pytest.mark.parametrize(("error", "status", "kind"), TABLE, ids=lambda value: type(value).__name__)
def test_every_error_has_its_problem(error: Exception, status: int, kind: str) -> None:
    response = problem_of(error)
    body = json.loads(bytes(response.body))

    assert response.media_type == "application/problem+json"
    assert response.status_code == body["status"] == status
    assert body["type"] == f"/problems/{kind}"
    assert set(body) == {"type", "title", "status", "detail", "errors"}
    assert "canary" not in str(body)


def test_the_field_is_named_and_its_value_is_not() -> None:
    found = [
        {"type": "missing", "loc": ("body", "form"), "msg": "Field required", "input": "canary"},
        {"type": "extra_forbidden", "loc": ("body", "canary"), "msg": "canary", "input": "canary"},
        {"type": "value_error", "loc": ("body", "patient_id"), "msg": "Value error, canary", "input": "canary"},
        {"type": "int_parsing", "loc": ("query", "limit"), "msg": "Input should be a valid integer", "input": "canary"},
    ]
    body = json.loads(bytes(problem_of(RequestValidationError(found)).body))

    assert [error["field"] for error in body["errors"]] == ["form", "body", "body", "limit"]
    assert "canary" not in json.dumps(body)


def test_unavailable_says_when_to_try_again() -> None:
    assert problem_of(errors.StoreUnavailable("x")).headers["retry-after"] == "1"
