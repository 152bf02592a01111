"""What a document is, by its content: a PDF or a CDA document, never what its name or its sender says.

PDF: ISO 32000-1 §7.5.2 and §7.5.5. CDA: HL7 CDA R2, an XML document whose root is ClinicalDocument. A document type
declaration is refused: it is where XML entities come from, and CDA needs none.
"""

import codecs
import re

from gateway.domain.document import MediaType

HEAD_BYTES = 8192
"""Looked at to recognise a document; the root element of a CDA document stands well within."""

TAIL_BYTES = 1024
"""Where the end of a PDF is looked for: some producers append a few bytes after it."""

_PDF_START = b"%PDF-"
_PDF_END = b"%%EOF"

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED_ENCODING = re.compile(rb"""<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_DECODERS = {"utf-8": "utf-8", "euc-kr": "euc-kr"}
"""Declared encodings that are read without a byte order mark; XML 1.0 §4.3.3 requires the mark of UTF-16."""

_SPACE = re.compile(r"\s*")
_BEFORE_ROOT = re.compile(r"\s*(<\?.*?\?>|<!--.*?-->)", re.DOTALL)
_CDA_ROOT = re.compile(r"<([A-Za-z_][\w.-]*:)?ClinicalDocument[\s/>]")

_DECLARATIONS = {
    "application/pdf": MediaType.PDF,
    "text/xml": MediaType.XML,
    "application/xml": MediaType.XML,
    "application/cda+xml": MediaType.XML,
    "application/hl7-cda+xml": MediaType.XML,
}
_UNDECLARED = ("", "application/octet-stream")


def media_type_of(head: bytes) -> MediaType | None:
    """What a document is that begins with `head` (its first `HEAD_BYTES`); None when it is nothing we take."""
    if head.startswith(_PDF_START):
        return MediaType.PDF
    text = _xml_text(head)
    return MediaType.XML if text is not None and _is_cda(text) else None


def is_whole(media_type: MediaType, tail: bytes) -> bool:
    """Whether a document of this type that ends with `tail` (its last `TAIL_BYTES`) has its end."""
    match media_type:
        case MediaType.PDF:
            return _PDF_END in tail
        case MediaType.XML:
            return tail.rstrip(b"\0\t\r\n ").endswith(b">")  # zeros: halves of UTF-16 characters


def agrees(declared: str | None, found: MediaType) -> bool:
    """Whether the sender's Content-Type, if any, goes with what was found."""
    essence = (declared or "").partition(";")[0].strip().lower()
    return essence in _UNDECLARED or _DECLARATIONS.get(essence) is found


def _xml_text(head: bytes) -> str | None:
    """The beginning as text; None when it is not text in an encoding we read."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return _decoded(head[len(mark) :], encoding)
    declared = _DECLARED_ENCODING.match(head)
    name = declared.group(1).decode("ascii").lower() if declared else "utf-8"
    return _decoded(head, _DECODERS[name]) if name in _DECODERS else None


def _decoded(head: bytes, encoding: str) -> str | None:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head)  # a character may be cut off at the end
    except UnicodeDecodeError:
        return None


def _is_cda(text: str) -> bool:
    position = 0
    while found := _BEFORE_ROOT.match(text, position):
        position = found.end()
    space = _SPACE.match(text, position)
    return _CDA_ROOT.match(text, space.end() if space else position) is not None
