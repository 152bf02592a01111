"""Is it alive, is it ready, how much does it do."""

from typing import Annotated

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from gateway.domain.access import Caller, Role
from gateway.web.access import Context, requires
from gateway.web.problems import MEDIA_TYPE, PROBLEM_SCHEMA, UNAVAILABLE, FieldError, problem, responses

router = APIRouter(tags=["health"])

Watcher = Annotated[Caller, requires(Role.ADMINISTRATOR, Role.MONITOR)]


class Health(BaseModel):
    """All is well."""

    status: str = "ok"


@router.get("/livez", operation_id="isAlive", summary="Whether the process answers.")
async def livez() -> Health:
    """Says nothing about what it can do; see readyz."""
    return Health()


@router.get(
    "/readyz",
    operation_id="isReady",
    summary="Whether the node takes work.",
    response_model=Health,
    responses={503: {"description": UNAVAILABLE.title, "content": {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}}},
)
def readyz(context: Context) -> Health | JSONResponse:
    """If not, the problem's `errors` say why."""
    reasons = context.readiness()
    if not reasons:
        return Health()
    errors = [FieldError(field="node", message=reason) for reason in reasons]
    return problem(UNAVAILABLE, "The node takes no work at present.", errors)


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Metrics for Prometheus.",
    response_class=Response,
    responses={**responses(), 200: {"description": "Metrics.", "content": {"text/plain": {}}}},
)
def metrics(_caller: Watcher, context: Context) -> Response:
    """The text format of Prometheus."""
    return Response(generate_latest(context.metrics.registry), media_type=CONTENT_TYPE_LATEST)
