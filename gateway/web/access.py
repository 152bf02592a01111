"""Who is asking, and what a handler may reach.

Every path needs a token but the few in `OPEN_PATHS`, which tell nothing: a new route is closed without anybody
having to think of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.documents.attach import Documents
from gateway.domain.access import Caller, Role
from gateway.errors import NotPermitted
from gateway.metrics import Metrics
from gateway.planning import Planner
from gateway.store.authority import StoredAuthority
from gateway.store.database import Database
from gateway.store.tokens import authenticate
from gateway.store.writer import Writer
from gateway.web.problems import UNAUTHENTICATED, problem

OPEN_PATHS: Final = frozenset({"/livez", "/readyz"})

TOKEN_LIMIT_CHARACTERS = 256
"""Longer than any token of ours; what is longer is none."""

_CHALLENGE = 'Bearer realm="gateway"'
_BEARER = HTTPBearer(auto_error=False, description="A token made by `gateway token create`.")


@dataclass(frozen=True, slots=True)
class WebContext:
    """What the handlers work with. `readiness` says why the node should get no work now; nothing when it may."""

    documents: Documents
    database: Database
    writer: Writer
    authority: StoredAuthority
    planner: Planner
    metrics: Metrics
    clock: Callable[[], datetime]
    readiness: Callable[[], list[str]]


class Authentication:
    """Lets requests with a valid token through, the caller in their state, and answers 401 to the others."""

    def __init__(self, app: ASGIApp, context: WebContext) -> None:
        self._app = app
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            token = _token(Headers(scope=scope))
            caller = await run_in_threadpool(self._authenticate, token) if token else None
            if caller is None:
                await _unauthenticated(token)(scope, receive, send)
                return
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)

    def _authenticate(self, token: str) -> Caller | None:
        with self._context.database.read() as session:
            return authenticate(session, token, self._context.clock())


def context_of(request: Request) -> WebContext:
    context: WebContext = request.app.state.context
    return context


Context = Annotated[WebContext, Depends(context_of)]


def requires(*roles: Role) -> Any:
    """A dependency that gives the caller, if it has one of these roles.

    Raises:
        NotPermitted: when asked, it has none of them.
    """

    async def caller_with_role(request: Request, _: Annotated[Any, Security(_BEARER)]) -> Caller:
        caller: Caller = request.state.caller
        if caller.role not in roles:
            raise NotPermitted("the role of your token does not include this")
        return caller

    return Depends(caller_with_role)


def _token(headers: Headers) -> str:
    """The bearer token (RFC 6750 §2.1); empty when there is none."""
    values = headers.getlist("authorization")
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    token = token.strip()
    return token if scheme.lower() == "bearer" and len(token) <= TOKEN_LIMIT_CHARACTERS else ""


def _unauthenticated(token: str) -> ASGIApp:
    """The same for a token that is unknown, expired or revoked."""
    challenge = f'{_CHALLENGE}, error="invalid_token"' if token else _CHALLENGE
    return problem(
        UNAUTHENTICATED,
        "Send `Authorization: Bearer <token>` with a token that is known and in force.",
        headers={"WWW-Authenticate": challenge},
    )
