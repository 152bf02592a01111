"""The form parser: any split of the bytes gives the same form, and any bytes a form or a declared error.

The bodies are written by httpx and, for headers it would not write, by hand.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from fastapi import HTTPException
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.documents.blobs import BlobStore
from gateway.errors import DocumentRejected
from gateway.web.upload import FIELD_LIMIT_BYTES, Upload, UploadForm

LIMIT_BYTES = 10_000
BOUNDARY = b"b0undary"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> BlobStore:
    return BlobStore(tmp_path_factory.mktemp("blobs"))


def body_of(fields: dict[str, str], content: bytes, name: str = "x.pdf") -> bytes:
    request = httpx.Request(
        "POST",
        "http://x",
        data=fields,
        files={"file": (name, content)},
        headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"},
    )
    return request.read()


def part(disposition: str, content: bytes = b"x", *headers: str) -> bytes:
    lines = [f"Content-Disposition: {disposition}", *headers]
    head = "".join(f"{line}\r\n" for line in lines).encode()
    return b"--" + BOUNDARY + b"\r\n" + head + b"\r\n" + content + b"\r\n"


END = b"--" + BOUNDARY + b"--\r\n"
FILE_PART = part('form-data; name="file"; filename="x"')


def parse(store: BlobStore, body: bytes, sizes: list[int] | None = None) -> Upload:
    """The form that comes in pieces of these sizes, the last of which takes the rest."""
    form = UploadForm(BOUNDARY, store.writer, LIMIT_BYTES)
    try:
        for size in sizes or []:
            form.feed(body[:size])
            body = body[size:]
        form.feed(body)
        return form.finish()
    finally:
        form.abandon()


def taken(upload: Upload) -> tuple[dict[str, str], str, str, str]:
    sha256 = upload.file.sha256
    upload.file.abandon()
    return upload.fields, upload.file_name, upload.media_type, sha256


AWKWARD = st.one_of(
    st.binary(max_size=400),
    st.lists(st.sampled_from([b"\r", b"\n", b"--", BOUNDARY, b"\r\n--" + BOUNDARY[:4], b"x"]), max_size=20).map(
        b"".join
    ),
).filter(lambda content: b"\r\n--" + BOUNDARY not in b"\r\n" + content)


@settings(deadline=None)  # each writes files
@given(content=AWKWARD, sizes=st.lists(st.integers(0, 60), max_size=40))
def test_any_split_gives_the_same_form(store: BlobStore, content: bytes, sizes: list[int]) -> None:
    upload = parse(store, body_of({"type": "RETURN", "title": "회송"}, content), sizes)
    fields, name, _, sha256 = taken(upload)

    assert fields == {"type": "RETURN", "title": "회송"}
    assert name == "x.pdf"
    assert sha256 == hashlib.sha256(content).hexdigest()


def test_byte_by_byte(store: BlobStore) -> None:
    body = body_of({"patient_id": "1"}, b"content \r\n--b0und")

    assert taken(parse(store, body, [1] * len(body))) == taken(parse(store, body))


@settings(deadline=None)  # each writes files
@given(body=st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: FILE_PART + tail))
def test_any_bytes_give_a_form_or_a_declared_error(store: BlobStore, body: bytes) -> None:
    with suppress(HTTPException, DocumentRejected):
        taken(parse(store, body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        END[:-4],
        FILE_PART,
        FILE_PART + END[:-4],
        b"no boundary at all",
        b"--other\r\n" + FILE_PART + END,
        b"--" + BOUNDARY + b"\r\nBad Header: x\r\n\r\nx\r\n" + END,
        b"--" + BOUNDARY + b"\r\n" + b"X-A: 1\r\n" * 9 + b"\r\nx\r\n" + END,
        b"--" + BOUNDARY + b"\r\nX-A: " + b"x" * 5000 + b"\r\n\r\nx\r\n" + END,
    ],
)
def test_what_is_no_whole_form(store: BlobStore, body: bytes) -> None:
    with pytest.raises(HTTPException) as refused:
        parse(store, body)

    assert refused.value.status_code == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (END, "file"),
        (part('form-data; name="type"') + END, "file"),
        (FILE_PART + FILE_PART + END, "file"),
        (part('form-data; name="type"') * 2 + FILE_PART + END, "type"),
        (part('form-data; name="other"') + FILE_PART + END, "form"),
        (part("form-data") + FILE_PART + END, "form"),
        (part('attachment; name="type"') + FILE_PART + END, "form"),
        (part('form-data; name="title"', b"x" * (FIELD_LIMIT_BYTES + 1)) + FILE_PART + END, "title"),
        (part('form-data; name="title"', b"\xff\xfe") + FILE_PART + END, "title"),
        (b"--" + BOUNDARY + b"\r\n\r\nx\r\n" + FILE_PART + END, "form"),
    ],
)
def test_parts_that_are_refused(store: BlobStore, body: bytes, field: str) -> None:
    with pytest.raises(DocumentRejected) as refused:
        parse(store, body)

    assert refused.value.field == field


def test_a_file_at_the_limit_and_one_above(store: BlobStore) -> None:
    assert parse(store, body_of({}, b"x" * LIMIT_BYTES)).file.size_bytes == LIMIT_BYTES
    with pytest.raises(HTTPException) as refused:
        parse(store, body_of({}, b"x" * (LIMIT_BYTES + 1)))
    assert refused.value.status_code == 413


def test_what_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    form = UploadForm(BOUNDARY, BlobStore(tmp_path).writer, LIMIT_BYTES)
    form.feed(FILE_PART)
    form.abandon()

    assert list((tmp_path / "part").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "read"),
    [("900101-1234567.pdf", "900101-1234567.pdf"), ("%39%30.pdf", "90.pdf"), ("홍길동.pdf", "홍길동.pdf")],
)
def test_names_are_read_as_people_read_them(store: BlobStore, name: str, read: str) -> None:
    upload = parse(store, part(f'form-data; name="file"; filename="{name}"') + END)

    assert taken(upload)[1] == read


def test_the_content_type_of_the_part_is_kept(store: BlobStore) -> None:
    upload = parse(store, part('form-data; name="file"; filename="x"', b"x", "Content-Type: application/pdf") + END)

    assert taken(upload)[2] == "application/pdf"
