"""The letter, read back with an independent PDF reader."""

import io

import pypdf
import pytest

from gateway.errors import InputError
from gateway.ops.letter import simple_pdf

LINES = ["진료의뢰서 Referral", "환자: 홍길동 (Hong Gildong), 洪吉洞", "A\\B (C) <D> 100%", "가나병원 → 다라병원"]


def text_of(pdf: bytes) -> str:
    reader = pypdf.PdfReader(io.BytesIO(pdf), strict=True)
    assert len(reader.pages) == 1
    return reader.pages[0].extract_text()


def test_korean_and_latin_text_can_be_read_back() -> None:
    text = text_of(simple_pdf(LINES))

    assert [line for line in text.splitlines() if line] == LINES


def test_the_page_is_a4_and_the_language_korean() -> None:
    reader = pypdf.PdfReader(io.BytesIO(simple_pdf(LINES)), strict=True)

    assert (reader.pages[0].mediabox.width, reader.pages[0].mediabox.height) == (595, 842)
    assert reader.trailer["/Root"]["/Lang"] == "ko-KR"


def test_the_table_of_objects_is_exact() -> None:
    pdf = simple_pdf(LINES)
    start = int(pdf.split(b"startxref\n")[1].split()[0])
    entries = pdf[start:].split(b"trailer")[0].splitlines()[3:]

    assert pdf[start:].startswith(b"xref\n")
    for number, entry in enumerate(entries, start=1):
        assert pdf[int(entry.split()[0]) :].startswith(b"%d 0 obj" % number)


def test_the_same_lines_give_the_same_bytes() -> None:
    assert simple_pdf(LINES) == simple_pdf(LINES)


def test_a_long_line_is_broken_between_the_margins() -> None:
    text = text_of(simple_pdf(["제목", "가" * 100]))
    lines = [line for line in text.splitlines() if line]

    assert "".join(lines[1:]) == "가" * 100
    assert max(map(len, lines)) <= 42


def test_many_different_characters() -> None:
    syllables = "".join(chr(0xAC00 + 37 * number) for number in range(250))

    assert syllables in text_of(simple_pdf(["제목", syllables])).replace("\n", "")


@pytest.mark.parametrize("lines", [[], ["a\nb"], ["\x00"], ["𝒳"], ["제목"] * 60])
def test_what_does_not_fit_is_refused(lines: list[str]) -> None:
    with pytest.raises(InputError, match="letter"):
        simple_pdf(lines)
