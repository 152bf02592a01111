"""Every answer that is not a success: problem details (RFC 9457), and the only table from error to status.

A `type` is stable and may be relied upon. Nothing the requester sent is repeated, so that no answer and no log of
answers holds a patient's data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from gateway.errors import (
    Conflict,
    DocumentRejected,
    GatewayError,
    InputError,
    NotFound,
    NotPermitted,
    StoreError,
)

MEDIA_TYPE: Final = "application/problem+json"
PROBLEM_SCHEMA: Final = {"$ref": "#/components/schemas/Problem"}


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem: the last part of its URI, its status and its title."""

    name: str
    status: HTTPStatus
    title: str


MALFORMED = ProblemType("malformed", HTTPStatus.BAD_REQUEST, "The request cannot be read.")
UNAUTHENTICATED = ProblemType("unauthenticated", HTTPStatus.UNAUTHORIZED, "A valid token is needed.")
NOT_PERMITTED = ProblemType("not-permitted", HTTPStatus.FORBIDDEN, "The token does not allow this.")
NOT_FOUND = ProblemType("not-found", HTTPStatus.NOT_FOUND, "There is nothing here.")
DOCUMENT_NOT_AVAILABLE = ProblemType("document-not-available", HTTPStatus.NOT_FOUND, "The document is not available.")
METHOD_NOT_ALLOWED = ProblemType("method-not-allowed", HTTPStatus.METHOD_NOT_ALLOWED, "Not by this method.")
TOO_SLOW = ProblemType("too-slow", HTTPStatus.REQUEST_TIMEOUT, "The request came too slowly.")
CONFLICT = ProblemType("conflict", HTTPStatus.CONFLICT, "The request contradicts what is registered.")
TOO_LARGE = ProblemType("too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large.")
UNSUPPORTED = ProblemType(
    "unsupported-media-type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The request is of a type not taken here."
)
INVALID = ProblemType("invalid-request", HTTPStatus.UNPROCESSABLE_ENTITY, "A value is not acceptable.")
FAILED = ProblemType("internal-error", HTTPStatus.INTERNAL_SERVER_ERROR, "The gateway failed.")
UNAVAILABLE = ProblemType("unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "The gateway cannot answer now.")

_BY_STATUS: Final = {
    kind.status: kind
    for kind in (
        MALFORMED,
        UNAUTHENTICATED,
        NOT_PERMITTED,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        TOO_SLOW,
        CONFLICT,
        TOO_LARGE,
        UNSUPPORTED,
        INVALID,
        FAILED,
        UNAVAILABLE,
    )
}

_SAFE_MESSAGES: Final = {
    "enum",
    "greater_than_equal",
    "int_parsing",
    "json_invalid",
    "less_than_equal",
    "missing",
    "string_pattern_mismatch",
    "string_too_long",
    "string_too_short",
    "string_type",
}
"""Kinds of validation error whose words hold what was expected and nothing of what was sent."""


_FAILED: Final = "The failure was logged."


class FieldError(BaseModel):
    """Which part of the request is at fault, and why."""

    field: str
    message: str


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(description="Stable URI reference of the kind of problem.")
    title: str
    status: int
    detail: str
    errors: list[FieldError] = Field(default_factory=list, description="The fields at fault, if any.")


def problem(
    kind: ProblemType,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A problem as a response."""
    content = Problem(
        type=f"/problems/{kind.name}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        errors=list(errors),
    )
    return JSONResponse(content.model_dump(), kind.status, headers, MEDIA_TYPE)


def document_not_available() -> JSONResponse:
    """One answer for what does not exist and for what may not be disclosed."""
    return problem(DOCUMENT_NOT_AVAILABLE, "There is no such document, or it may not be disclosed to your institution.")


def problem_of(error: Exception) -> JSONResponse:
    """The answer to an error."""
    match error:
        case RequestValidationError():
            errors = [_field_error(one) for one in error.errors()]
            kind = MALFORMED if any(one["type"] == "json_invalid" for one in error.errors()) else INVALID
            return problem(kind, "See `errors` for the fields at fault.", errors)
        case HTTPException():
            kind = _BY_STATUS.get(HTTPStatus(error.status_code), FAILED)
            return problem(kind, error.detail, headers=error.headers)
        case GatewayError():
            return _of_ours(error)
        case _:
            return problem(FAILED, _FAILED)


_KINDS: Final[tuple[tuple[type[GatewayError], ProblemType], ...]] = (
    (NotPermitted, NOT_PERMITTED),
    (NotFound, NOT_FOUND),
    (Conflict, CONFLICT),
    (InputError, INVALID),
)


def _of_ours(error: GatewayError) -> JSONResponse:
    if isinstance(error, DocumentRejected):
        errors = [FieldError(field=error.field, message=str(error))]
        return problem(INVALID, "See `errors` for the field at fault.", errors)
    if isinstance(error, StoreError):
        return problem(UNAVAILABLE, "Try again in a moment.", headers={"Retry-After": "1"})
    for kind, answer in _KINDS:
        if isinstance(error, kind):
            return problem(answer, str(error))
    return problem(FAILED, _FAILED)


def _field_error(error: Mapping[str, Any]) -> FieldError:
    """The last name of the place, unless it is one the requester chose."""
    names = [part for part in error["loc"] if isinstance(part, str)]
    known = error["type"] in _SAFE_MESSAGES
    return FieldError(
        field=names[-1] if known and names else "body",
        message=str(error["msg"]) if known else "not acceptable, or not known",
    )


def install(app: FastAPI) -> None:
    """Have the framework's own errors answered as problems too, and problems described."""

    async def answer(_request: Request, error: Exception) -> JSONResponse:
        return problem_of(error)

    app.add_exception_handler(RequestValidationError, answer)
    app.add_exception_handler(HTTPException, answer)
    described = app.openapi

    def with_problems() -> dict[str, Any]:
        schemas = described().setdefault("components", {}).setdefault("schemas", {})
        problem_schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem_schema.pop("$defs"))
        schemas["Problem"] = problem_schema
        return described()

    app.openapi = with_problems  # type: ignore[method-assign]  # the way FastAPI documents


def responses(*kinds: ProblemType) -> dict[int | str, dict[str, Any]]:
    """How an operation declares the problems it may answer with."""
    declared: dict[int | str, dict[str, Any]] = {}
    for kind in (*kinds, UNAUTHENTICATED, NOT_PERMITTED, INVALID, UNAVAILABLE):
        declared[int(kind.status)] = {
            "description": kind.title,
            "content": {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}},
        }
    return declared
