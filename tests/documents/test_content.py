"""Recognised by content. Real PDFs come from pypdf, real XML encodings from Python's codecs."""

import codecs
import io

import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.documents.content import HEAD_BYTES, TAIL_BYTES, agrees, is_whole, media_type_of
from gateway.domain.document import MediaType


def a_pdf() -> bytes:
    writer = pypdf.PdfWriter()
    writer.add_blank_page(width=200, height=200)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def a_cda(declaration: str = '<?xml version="1.0" encoding="UTF-8"?>') -> str:
    return f'{declaration}\n<ClinicalDocument xmlns="urn:hl7-org:v3"><title>진료의뢰서</title></ClinicalDocument>\n'


def test_a_pdf_is_one() -> None:
    assert media_type_of(a_pdf()[:HEAD_BYTES]) is MediaType.PDF
    assert is_whole(MediaType.PDF, a_pdf()[-TAIL_BYTES:])


def test_a_pdf_cut_off_is_not_whole() -> None:
    assert not is_whole(MediaType.PDF, a_pdf()[:-10][-TAIL_BYTES:])


@pytest.mark.parametrize(
    "content",
    [
        a_cda().encode(),
        a_cda("").encode(),
        codecs.BOM_UTF8 + a_cda().encode(),
        a_cda('<?xml version="1.0" encoding="UTF-16"?>').encode("utf-16"),
        codecs.BOM_UTF16_BE + a_cda('<?xml version="1.0" encoding="UTF-16"?>').encode("utf-16-be"),
        a_cda("<?xml version='1.0' encoding='EUC-KR' standalone='yes'?>").encode("euc-kr"),
        a_cda('<?xml version="1.0"?>\n<!-- 서식 -->\n<?xml-stylesheet href="CDA.xsl"?>').encode(),
        b'<?xml version="1.0"?><n1:ClinicalDocument xmlns:n1="urn:hl7-org:v3"></n1:ClinicalDocument>',
        b"\n  <ClinicalDocument/>",
    ],
)
def test_a_cda_document_is_xml(content: bytes) -> None:
    assert media_type_of(content[:HEAD_BYTES]) is MediaType.XML
    assert is_whole(MediaType.XML, content[-TAIL_BYTES:])


def test_a_character_cut_off_by_the_head_does_no_harm() -> None:
    content = a_cda().replace("진료의뢰서", "가" * HEAD_BYTES).encode()
    cut = {media_type_of(content[: HEAD_BYTES - less]) for less in range(4)}

    assert cut == {MediaType.XML}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"MZ\x90\x00",
        b"PK\x03\x04",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a %PDF-1.7",
        b" %PDF-1.7",
        b"<html><script>alert(1)</script></html>",
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"<ClinicalDocumentation/>",
        b"ClinicalDocument",
        b'<?xml version="1.0"?>',
        b'<?xml version="1.0"?><!DOCTYPE ClinicalDocument [<!ENTITY x "y">]><ClinicalDocument/>',
        b"<!DOCTYPE html><ClinicalDocument/>",
        b"<!-- never closed <ClinicalDocument/>",
        b'<?xml version="1.0" encoding="UTF-7"?><ClinicalDocument/>',
        b'<?xml version="1.0" encoding="EUC-KR"?><ClinicalDocument t="\xff\xff"/>',
        "<ClinicalDocument/>".encode("utf-16-le"),
        "<ClinicalDocument/>".encode("utf-32"),
        b'<?xml version="1.0"?>' + b" " * HEAD_BYTES + b"<ClinicalDocument/>",
    ],
)
def test_anything_else_is_nothing(content: bytes) -> None:
    assert media_type_of(content[:HEAD_BYTES]) is None


@given(head=st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: b"<?xml " + tail))
def test_any_bytes_have_an_answer(head: bytes) -> None:
    assert media_type_of(head) in (None, MediaType.PDF, MediaType.XML)


def test_xml_cut_off_is_not_whole() -> None:
    assert not is_whole(MediaType.XML, b"<ClinicalDocument><title>cut")


@pytest.mark.parametrize("declared", [None, "", "application/octet-stream", "Application/PDF; x=y", "application/pdf"])
def test_declarations_that_go_with_a_pdf(declared: str | None) -> None:
    assert agrees(declared, MediaType.PDF)


@pytest.mark.parametrize("declared", ["text/xml", "image/png", "application/pdfx", "pdf"])
def test_declarations_that_do_not(declared: str) -> None:
    assert not agrees(declared, MediaType.PDF)


@pytest.mark.parametrize("declared", ["text/xml; charset=utf-8", "application/xml", "application/hl7-cda+xml"])
def test_declarations_that_go_with_cda(declared: str) -> None:
    assert agrees(declared, MediaType.XML)
