"""multipart/form-data (RFC 7578) taken as it comes: the file goes straight to disk, nothing else is kept in memory.

`UploadForm` is a push parser without I/O of its own; its file part is written while it is fed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.documents.blobs import BlobWriter
from gateway.errors import DocumentRejected
from gateway.web.problems import MALFORMED, TOO_LARGE, UNSUPPORTED

FIELDS: Final = ("type", "title", "patient_id")
FILE: Final = "file"

FIELD_LIMIT_BYTES = 4 << 10
"""The longest value, a title of 200 characters, takes well under 1 KiB."""

PART_LIMIT_COUNT = len(FIELDS) + 1
BOUNDARY_LIMIT_BYTES = 70
"""RFC 2046 §5.1.1."""

FEED_BYTES = 256 << 10
"""Parsed, digested and written at once, on a thread: less than a millisecond of work."""

_PART_HEADERS = (b"content-disposition", b"content-type")


@dataclass(slots=True)
class Upload:
    """What a form held. `file` is whole but not committed; who takes it commits or abandons it."""

    fields: dict[str, str]
    file: BlobWriter
    file_name: str
    media_type: str


@dataclass(slots=True)
class _Part:
    headers: dict[bytes, bytearray] = field(default_factory=dict)
    header: bytearray = field(default_factory=bytearray)
    name: str = ""
    value: bytearray = field(default_factory=bytearray)


class UploadForm:
    """Takes the body of a form in pieces of any size."""

    def __init__(self, boundary: bytes, new_file: Callable[[], BlobWriter], file_limit_bytes: int) -> None:
        self._new_file = new_file
        self._file_limit_bytes = file_limit_bytes
        self._fields: dict[str, str] = {}
        self._file: BlobWriter | None = None
        self._file_name = ""
        self._media_type = ""
        self._part = _Part()
        self._part_count = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            HTTPException: they are no form, or the file is too large.
            DocumentRejected: a part that is not asked for, comes twice or is too long.
            StoreUnavailable: the file cannot be written.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _malformed() from error

    def finish(self) -> Upload:
        """The form, after its last byte. Its file belongs to the caller.

        Raises:
            HTTPException: the form has no end.
            DocumentRejected: there is no file.
        """
        if not self._ended:
            raise _malformed()
        if self._file is None:
            raise DocumentRejected("file: expected one file", FILE)
        file, self._file = self._file, None
        return Upload(self._fields, file, self._file_name, self._media_type)

    def abandon(self) -> None:
        """Forget what was written, unless `finish` gave it away."""
        if self._file is not None:
            self._file.abandon()
            self._file = None

    def _on_part_begin(self) -> None:
        self._part = _Part()
        self._part_count += 1
        if self._part_count > PART_LIMIT_COUNT:
            raise DocumentRejected(f"form: at most {PART_LIMIT_COUNT} parts", "form")

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._part.header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        name = bytes(self._part.header).lower()
        self._part.headers.setdefault(name, bytearray()).extend(data[start:end])

    def _on_header_end(self) -> None:
        self._part.header.clear()

    def _on_headers_finished(self) -> None:
        disposition, content_type = (bytes(self._part.headers.get(name, b"")) for name in _PART_HEADERS)
        kind, options = parse_options_header(disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or name not in (*FIELDS, FILE):
            raise DocumentRejected(f"form: expected parts {', '.join((*FIELDS, FILE))}", "form")
        if name in self._fields or (name == FILE and self._file is not None):
            raise DocumentRejected(f"{name}: expected once", name)
        self._part.name = name
        if name == FILE:
            self._file_name = unquote(options.get(b"filename", b"").decode("utf-8", "replace"))
            self._media_type = content_type.decode("ascii", "replace")
            self._file = self._new_file()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.name == FILE and self._file is not None:
            if self._file.size_bytes + end - start > self._file_limit_bytes:
                raise HTTPException(TOO_LARGE.status, f"A document has at most {self._file_limit_bytes} bytes.")
            self._file.write(memoryview(data)[start:end])
            return
        if len(self._part.value) + end - start > FIELD_LIMIT_BYTES:
            raise DocumentRejected(f"{self._part.name}: at most {FIELD_LIMIT_BYTES} bytes", self._part.name)
        self._part.value += data[start:end]

    def _on_part_end(self) -> None:
        if self._part.name == FILE:
            return
        try:
            self._fields[self._part.name] = self._part.value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DocumentRejected(f"{self._part.name}: expected UTF-8", self._part.name) from error

    def _on_end(self) -> None:
        self._ended = True


async def receive_form(request: Request, new_file: Callable[[], BlobWriter], file_limit_bytes: int) -> Upload:
    """Read a whole form from a request. Its file belongs to the caller.

    Raises:
        HTTPException: it is no form, or too large.
        DocumentRejected: a part is not acceptable.
        StoreUnavailable: the file cannot be written.
        ClientDisconnect: the requester went away; nothing is kept.
    """
    form = UploadForm(_boundary(request), new_file, file_limit_bytes)
    try:
        waiting = bytearray()
        async for piece in request.stream():
            waiting += piece
            if len(waiting) >= FEED_BYTES:
                await run_in_threadpool(form.feed, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(form.feed, bytes(waiting))
        return form.finish()
    finally:
        form.abandon()


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise HTTPException(UNSUPPORTED.status, "Send multipart/form-data.")
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= BOUNDARY_LIMIT_BYTES:
        raise _malformed()
    return boundary


def _malformed() -> HTTPException:
    return HTTPException(MALFORMED.status, "The body is not a whole multipart/form-data form.")
