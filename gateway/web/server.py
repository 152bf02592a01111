"""The HTTP server: uvicorn on a thread of its own, with our limits and without its logs.

uvicorn does not bound how long a connection may take to say what it wants; `_Protocol` does.
"""

import asyncio
import threading
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway import log
from gateway.errors import ConnectFailed

HEAD_LIMIT_BYTES = 16 << 10
"""Request line and headers; ours have a few hundred bytes."""

HEAD_TIMEOUT_S = 10
"""From the connection, or the last answer, to a whole request head; whole seconds."""

CONNECTION_LIMIT_COUNT = 256
"""Beyond it the answer is 503. A connection costs some tens of KiB."""

BACKLOG_COUNT = 128
START_TIMEOUT_S = 10.0
DRAIN_TIMEOUT_S = 5.0
"""How long running requests may take to end when the server stops."""


class WebServer:
    """Serves one application on one address."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        drain_timeout_s: float = DRAIN_TIMEOUT_S,
        head_timeout_s: int = HEAD_TIMEOUT_S,
    ) -> None:
        """Bind. Port 0 lets the system choose; `port` tells which.

        Raises:
            ConnectFailed: the address cannot be bound.
        """
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="asyncio",
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=HEAD_LIMIT_BYTES,
            timeout_keep_alive=head_timeout_s,
            timeout_graceful_shutdown=max(1, round(drain_timeout_s)),
            limit_concurrency=CONNECTION_LIMIT_COUNT,
        )
        try:
            self._sock = asyncio.run(_bound(host, port))
            self._sock.listen(BACKLOG_COUNT)
        except OSError as error:
            raise ConnectFailed(f"cannot listen on {host}:{port}: {error.strerror}") from error
        self.port: int = self._sock.getsockname()[1]
        self._join_timeout_s = drain_timeout_s + START_TIMEOUT_S
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._log = log.get(__name__)

    def start(self) -> None:
        """Serve from now on.

        Raises:
            ConnectFailed: the server did not start.
        """
        self._thread.start()
        if not self._server.ready.wait(START_TIMEOUT_S) or not self._server.started:
            raise ConnectFailed("the HTTP server did not start; see the log")

    def stop(self) -> None:
        """Accept nothing more, let running requests end, cut those that do not."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(self._join_timeout_s)
        self._sock.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._sock])
        except Exception as error:  # the outermost frame of the thread
            self._log.error("web_server_failed", exc_info=error)
        finally:
            self._server.ready.set()


async def _bound(host: str, port: int) -> Any:
    """A socket on the first address of a host; listening is up to the caller."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port, start_serving=False)
    try:
        return server.sockets[0].dup()
    finally:
        server.close()


class _Server(uvicorn.Server):
    """Tells when it has started, or failed to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class _Protocol(H11Protocol):
    """Closes a connection whose next request head does not come in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_head()

    def _expect_head(self) -> None:
        self.loop.call_later(self.timeout_keep_alive, self._close_without_head, self.cycle)

    def _close_without_head(self, last: object) -> None:
        if self.cycle is last and not self.transport.is_closing():
            self.transport.close()
