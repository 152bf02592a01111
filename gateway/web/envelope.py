"""What surrounds every request: limits on its body, security headers, one line of log, an answer to every error."""

import asyncio
from time import monotonic
from typing import Final

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import log
from gateway.errors import GatewayError, StoreError
from gateway.web.problems import TOO_LARGE, TOO_SLOW, problem_of

BODY_LIMIT_BYTES = 64 << 10
"""Of a request that hands in no file: a few fields of JSON."""

FORM_OVERHEAD_BYTES = 64 << 10
"""What a form may have beside its file: boundaries, part headers, fields."""

STALL_S = 30.0
"""Seconds a requester may send nothing within a body."""

MINIMUM_RATE_BYTES_PER_S = 16 << 10
"""Slowest a body may come on average, a stall's time aside; the same as for instances by default."""

LINGER_S = 2.0
LINGER_BYTES = 8 << 20
"""What is read and dropped after an early refusal, so that the requester, still sending, gets to see it: closing a
connection with unread bytes resets it and takes the answer along (RFC 9112 §9.6)."""

_SECURITY_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Envelope:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, document_limit_bytes: int, stall_s: float = STALL_S) -> None:
        self._app = app
        self._stall_s = stall_s
        self._form_limit_bytes = document_limit_bytes + FORM_OVERHEAD_BYTES
        self._log = log.get(__name__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_form = headers.get("content-type", "").lower().startswith("multipart/")
        limit_bytes = self._form_limit_bytes if is_form else BODY_LIMIT_BYTES
        exchange = _Exchange(headers, receive, send, limit_bytes=limit_bytes, stall_s=self._stall_s)
        began_at = monotonic()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            pass
        except Exception as error:  # the outermost frame of the request: others go on
            self._report(error)
            if not exchange.status:
                await problem_of(error)(scope, exchange.receive, exchange.send)
        finally:
            self._log_request(scope, exchange.status, monotonic() - began_at)

    def _report(self, error: Exception) -> None:
        if isinstance(error, StoreError):
            self._log.warning("rest_unavailable", error=error)
        elif not isinstance(error, GatewayError):
            self._log.error("rest_failed", exc_info=error)

    def _log_request(self, scope: Scope, status: int, duration_s: float) -> None:
        """Never the path: it holds UIDs."""
        caller = scope.get("state", {}).get("caller")
        self._log.info(
            "rest_request",
            method=scope["method"],
            route=getattr(scope.get("route"), "path", None),
            http_status=int(status),
            duration_s=round(duration_s, 4),
            role=caller.role if caller else None,
        )


class _Exchange:
    """One request and its response, watched."""

    def __init__(self, headers: Headers, receive: Receive, send: Send, *, limit_bytes: int, stall_s: float) -> None:
        self._receive = receive
        self._send = send
        self._limit_bytes = limit_bytes
        self._stall_s = stall_s
        length = headers.get("content-length", "")
        self._announced_bytes = int(length) if length.isascii() and length.isdigit() else 0
        self._received_bytes = 0
        self._whole = not self._announced_bytes and "transfer-encoding" not in headers
        self._stalled = False
        self._began_at = monotonic()
        self.status = 0

    async def receive(self) -> Message:
        """The next part of the request.

        Raises:
            HTTPException: it is too large, or does not come.
        """
        if self._whole:
            return await self._receive()
        if self._announced_bytes > self._limit_bytes:
            raise _too_large(self._limit_bytes)
        try:
            async with asyncio.timeout(self._patience_s()):
                message = await self._receive()
        except TimeoutError as error:
            self._stalled = True
            raise HTTPException(
                TOO_SLOW.status, f"Less came than {MINIMUM_RATE_BYTES_PER_S} bytes a second."
            ) from error
        self._count(message)
        if self._received_bytes > self._limit_bytes:
            raise _too_large(self._limit_bytes)
        return message

    async def send(self, message: Message) -> None:
        """The next part of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if not self._whole:
                headers["Connection"] = "close"
            await self._send(message)
        elif self._whole or self._stalled or message.get("more_body", False):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            await self._linger()
            await self._send({"type": "http.response.body", "body": b""})

    def _patience_s(self) -> float:
        """How long the next part may take: no longer than a stall, and not so long that the rate falls too low."""
        earned_s = self._received_bytes / MINIMUM_RATE_BYTES_PER_S - (monotonic() - self._began_at)
        return max(0.0, self._stall_s + min(0.0, earned_s))

    async def _linger(self) -> None:
        kept_bytes = self._received_bytes
        try:
            async with asyncio.timeout(LINGER_S):
                while not self._whole and self._received_bytes - kept_bytes < LINGER_BYTES:
                    self._count(await self._receive())
        except TimeoutError:
            return

    def _count(self, message: Message) -> None:
        self._received_bytes += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)


def _too_large(limit_bytes: int) -> HTTPException:
    return HTTPException(TOO_LARGE.status, f"At most {limit_bytes} bytes are taken in all.")
