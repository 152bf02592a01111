"""A one-page letter as a PDF that needs no font of its own and still holds Korean as text.

The Korean font is named, not embedded: viewers put their Korean font in its place, as PDF 1.4 (§5.6.5) provides
for the character collection Adobe-Korea1. A table from codes to Unicode lets programs read the text.
"""

from collections.abc import Sequence
from itertools import groupby

from gateway.errors import InputError

PAGE_POINTS = (595, 842)
"""A4, in points of 1/72 inch."""
MARGIN_POINTS = 64
TITLE_POINTS, TEXT_POINTS = 20, 11
LEADING = 1.6
"""Distance of lines, in sizes of their font."""

_LARGEST_CODE = 0xFFFF
_CODES_PER_SECTION = 100
"""Of a table from codes to Unicode, at most (PDF 1.4 §5.9.2)."""


def simple_pdf(lines: Sequence[str]) -> bytes:
    """A valid PDF with these lines; the first is its title. Long lines are broken. The same lines give the same bytes.

    Raises:
        InputError: nothing to write, more than a page holds, or a character beyond Unicode's basic plane.
    """
    if not lines:
        raise InputError("letter: expected a title and lines of text")
    if any(ord(c) > _LARGEST_CODE or not c.isprintable() for line in lines for c in line):
        raise InputError("letter: expected printable characters of Unicode's basic multilingual plane")
    title, *text = lines
    placed = [(line, TITLE_POINTS) for line in _broken(title, TITLE_POINTS)]
    placed += [(part, TEXT_POINTS) for line in ("", *text) for part in _broken(line, TEXT_POINTS)]
    if sum(size * LEADING for _, size in placed) > PAGE_POINTS[1] - 2 * MARGIN_POINTS:
        raise InputError("letter: more lines than a page holds")
    width, height = PAGE_POINTS
    return _file(
        b"<< /Type /Catalog /Pages 2 0 R /Lang (ko-KR) >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 4 0 R" % (width, height)
        + b" /Resources << /Font << /F1 5 0 R /F2 9 0 R >> >> >>",
        _stream(_page(placed)),
        b"<< /Type /Font /Subtype /Type0 /BaseFont /HYSMyeongJo-Medium-UniKS-UCS2-H /Encoding /UniKS-UCS2-H"
        b" /DescendantFonts [6 0 R] /ToUnicode 8 0 R >>",
        b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /HYSMyeongJo-Medium /FontDescriptor 7 0 R"
        b" /CIDSystemInfo << /Registry (Adobe) /Ordering (Korea1) /Supplement 1 >> /DW 1000 >>",
        b"<< /Type /FontDescriptor /FontName /HYSMyeongJo-Medium /Flags 6 /FontBBox [0 -148 1001 880]"
        b" /ItalicAngle 0 /Ascent 880 /Descent -148 /CapHeight 720 /StemV 60 >>",
        _stream(_to_unicode(sorted({c for line in lines for c in line if not c.isascii()}))),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    )


def _broken(line: str, size: int) -> list[str]:
    """The line in parts that fit between the margins. Korean may be broken between any two characters."""
    room = (PAGE_POINTS[0] - 2 * MARGIN_POINTS) / size
    parts, used = [""], 0.0
    for character in line:
        width = 0.5 if character.isascii() else 1.0
        if used + width > room:
            parts.append("")
            used = 0.0
        parts[-1] += character
        used += width
    return parts


def _page(placed: Sequence[tuple[str, int]]) -> bytes:
    """The operators that draw the lines from the top of the page downwards (PDF 1.4 §5.3)."""
    operators = [f"BT 1 0 0 1 {MARGIN_POINTS} {PAGE_POINTS[1] - MARGIN_POINTS} Tm"]
    for line, size in placed:
        operators.append(f"0 {-size * LEADING:.1f} Td")
        for latin, run in groupby(line, str.isascii):
            text = "".join(run)
            font, codes = ("F2", text.encode("ascii")) if latin else ("F1", text.encode("utf-16-be"))
            operators.append(f"/{font} {size} Tf <{codes.hex()}> Tj")
    return "\n".join([*operators, "ET"]).encode("ascii")


def _to_unicode(characters: Sequence[str]) -> bytes:
    """The table from codes to Unicode (PDF 1.4 §5.9.2): the codes of this encoding are Unicode's own."""
    sections = []
    for first in range(0, len(characters), _CODES_PER_SECTION):
        codes = [f"<{ord(c):04x}>" for c in characters[first : first + _CODES_PER_SECTION]]
        sections += [f"{len(codes)} beginbfchar", *(f"{code} {code}" for code in codes), "endbfchar"]
    return "\n".join(
        [
            "/CIDInit /ProcSet findresource begin 12 dict begin begincmap",
            "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def",
            "/CMapName /Adobe-Identity-UCS def /CMapType 2 def",
            "1 begincodespacerange",
            "<0000> <ffff>",
            "endcodespacerange",
            *sections,
            "endcmap CMapName currentdict /CMap defineresource pop end end",
        ]
    ).encode("ascii")


def _stream(content: bytes) -> bytes:
    return b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)


def _file(*objects: bytes) -> bytes:
    """Header, objects numbered from 1, and the table of where each begins (PDF 1.4 §3.4)."""
    file = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(file)
    count = len(objects) + 1
    file += b"xref\n0 %d\n0000000000 65535 f \n" % count
    for offset in offsets:
        file += b"%010d 00000 n \n" % offset
    file += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, start)
    return bytes(file)
