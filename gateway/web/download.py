"""A document on its way out: the decision is asked again for every block, and the connection cut when it changes."""

import asyncio
from base64 import b64encode
from typing import Final

from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gateway import log
from gateway.documents.release import Release
from gateway.domain.document import Document, MediaType

BLOCK_BYTES = 128 << 10
"""Handed over after one decision; at most about two of them are under way when a decision changes."""

RECHECK_S = 0.5
"""How often the decision is asked while a slow reader keeps a block waiting."""

STALL_S = 30.0
"""How long a reader may take no byte at all."""

_FILE_NAMES: Final = {MediaType.PDF: "document.pdf", MediaType.XML: "document.xml"}


class Download(Response):
    """Streams a release and closes it. Ends early, without completing the response, when it may not go on."""

    def __init__(self, release: Release) -> None:
        super().__init__(headers=_headers(release.document), media_type=release.document.media_type.value)
        self._release = release
        self._log = log.get(__name__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        document_id = self._release.document.id
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            if await self._sent_all(send):
                await send({"type": "http.response.body", "body": b""})
            else:
                self._log.warning("document_release_cut", document_id=document_id)
        finally:
            self._release.close()

    async def _sent_all(self, send: Send) -> bool:
        offset = 0
        while offset < self._release.document.size_bytes:
            block = await run_in_threadpool(self._next_block, offset)
            message = {"type": "http.response.body", "body": block, "more_body": True}
            if not block or not await self._sent(send, message):
                return False
            offset += len(block)
        return True

    def _next_block(self, offset: int) -> bytes:
        """Nothing when it may not go on, or when the content is shorter than it was."""
        return self._release.read(BLOCK_BYTES, offset) if self._release.still_permitted() else b""

    async def _sent(self, send: Send, message: Message) -> bool:
        sending = asyncio.ensure_future(send(message))
        try:
            for _ in range(round(STALL_S / RECHECK_S)):
                done, _ = await asyncio.wait({sending}, timeout=RECHECK_S)
                if done:
                    await sending
                    return True
                if not await run_in_threadpool(self._release.still_permitted):
                    return False
            return False
        finally:
            sending.cancel()


def _headers(document: Document) -> dict[str, str]:
    digest = b64encode(bytes.fromhex(document.sha256)).decode("ascii")
    return {
        "Content-Length": str(document.size_bytes),
        "Content-Disposition": f'attachment; filename="{_FILE_NAMES[document.media_type]}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        "Accept-Ranges": "none",
    }
