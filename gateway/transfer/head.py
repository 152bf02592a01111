"""From the raw elements of a head to the identity of the instance."""

import re
from collections.abc import Mapping, Sequence

from pydicom.charset import CODES_TO_ENCODINGS, ESC, default_encoding, handled_encodings, python_encoding

from gateway.domain.instance import InstanceHead
from gateway.domain.person import PatientKey
from gateway.errors import InputError, MalformedDataSet
from gateway.wire.uids import is_valid_uid

SPECIFIC_CHARACTER_SET = 0x0008_0005
SOP_CLASS_UID = 0x0008_0016
SOP_INSTANCE_UID = 0x0008_0018
ACCESSION_NUMBER = 0x0008_0050
MODALITY = 0x0008_0060
PATIENT_ID = 0x0010_0020
STUDY_INSTANCE_UID = 0x0020_000D
SERIES_INSTANCE_UID = 0x0020_000E

WANTED = frozenset(
    {
        SPECIFIC_CHARACTER_SET,
        SOP_CLASS_UID,
        SOP_INSTANCE_UID,
        ACCESSION_NUMBER,
        MODALITY,
        PATIENT_ID,
        STUDY_INSTANCE_UID,
        SERIES_INSTANCE_UID,
    }
)
_COMMON = tuple(sorted(WANTED - {SOP_INSTANCE_UID}))

UNTIL = SERIES_INSTANCE_UID
"""The last element the gateway needs; usually within the first 9 KB."""


class HeadReader:
    """Turns raw heads into identities; what the instances of a series have in common is read once.

    For one sender, whose institution issued the Patient IDs. Owned by one thread.
    """

    def __init__(self, issuer_oid: str) -> None:
        self._issuer_oid = issuer_oid
        self._common: tuple[str | bytes | None, ...] = ()
        self._head: InstanceHead | None = None

    def read(self, elements: Mapping[int, bytes], transfer_syntax_uid: str) -> InstanceHead:
        """As `instance_head`."""
        common = (transfer_syntax_uid, *map(elements.get, _COMMON))
        latest = self._head
        if latest is None or common != self._common:
            head = instance_head(elements, transfer_syntax_uid, self._issuer_oid)
        else:
            head = InstanceHead(
                sop_class_uid=latest.sop_class_uid,
                sop_instance_uid=_uid(elements, SOP_INSTANCE_UID, "SOP Instance UID"),
                study_instance_uid=latest.study_instance_uid,
                series_instance_uid=latest.series_instance_uid,
                transfer_syntax_uid=transfer_syntax_uid,
                patient=latest.patient,
                accession_number=latest.accession_number,
                modality=latest.modality,
            )
        self._common, self._head = common, head
        return head


def instance_head(elements: Mapping[int, bytes], transfer_syntax_uid: str, issuer_oid: str) -> InstanceHead:
    """The identity an instance states. The issuer of its PatientID is the institution that sent it.

    Raises:
        MalformedDataSet: an identifier is missing, not well formed or not decodable; the message names the attribute
            and never its value.
    """
    return InstanceHead(
        sop_class_uid=_uid(elements, SOP_CLASS_UID, "SOP Class UID"),
        sop_instance_uid=_uid(elements, SOP_INSTANCE_UID, "SOP Instance UID"),
        study_instance_uid=_uid(elements, STUDY_INSTANCE_UID, "Study Instance UID"),
        series_instance_uid=_uid(elements, SERIES_INSTANCE_UID, "Series Instance UID"),
        transfer_syntax_uid=transfer_syntax_uid,
        patient=_patient(elements, issuer_oid),
        accession_number=_label(elements, ACCESSION_NUMBER),
        modality=_label(elements, MODALITY),
    )


def _uid(elements: Mapping[int, bytes], tag: int, name: str) -> str:
    text = elements.get(tag, b"").rstrip(b"\0 ").decode("ascii", "replace")
    if not is_valid_uid(text):
        raise MalformedDataSet(f"{name} is missing or malformed")
    return text


def _patient(elements: Mapping[int, bytes], issuer_oid: str) -> PatientKey:
    """Decoded strictly, since people are matched by it."""
    try:
        patient_id = _text(elements, PATIENT_ID)
    except (LookupError, UnicodeError) as error:
        raise MalformedDataSet("Patient ID cannot be read in the character set the data set names") from error
    if not patient_id:
        raise MalformedDataSet("Patient ID is missing")
    try:
        return PatientKey(issuer_oid, patient_id)
    except InputError as error:
        raise MalformedDataSet("Patient ID has a form that is not accepted") from error


def _label(elements: Mapping[int, bytes], tag: int) -> str:
    """A short text that nobody is matched by: empty when it cannot be read, and without control characters."""
    try:
        return "".join(filter(str.isprintable, _text(elements, tag)))
    except (LookupError, UnicodeError):
        return ""


def _text(elements: Mapping[int, bytes], tag: int) -> str:
    """A text in the data set's own character set (PS3.5 §6.1). Raises LookupError, UnicodeError."""
    raw = elements.get(tag, b"").rstrip(b"\0 ")
    if raw.isascii() and ESC not in raw:
        return raw.decode("ascii").strip()
    terms = elements.get(SPECIFIC_CHARACTER_SET, b"").rstrip(b"\0 ").decode("ascii").split("\\")
    encodings = [_encoding(term.strip()) for term in terms]
    return "".join(_decoded(part, encodings) for part in _PARTS.findall(raw)).strip()


_PARTS = re.compile(rb"\x1b[^\x1b]*|[^\x1b]+")
_MISSPELT = re.compile(r"ISO.(2022.)?IR.([0-9]+)")
"""With a hyphen or a space where another character belongs, as many devices write it."""


def _encoding(term: str) -> str:
    """Python's name for a defined term of Specific Character Set (PS3.3 §C.12.1.1.2). Raises LookupError."""
    if spelling := _MISSPELT.fullmatch(term):
        term = f"ISO 2022 IR {spelling[2]}" if spelling[1] else f"ISO_IR {spelling[2]}"
    return _strict(python_encoding[term])


def _decoded(part: bytes, encodings: Sequence[str]) -> str:
    """A part of a text from one escape sequence to the next (PS3.5 §6.1.2.5). Raises LookupError, UnicodeError."""
    if not part.startswith(ESC):
        return part.decode(encodings[0])
    escape = part[: 4 if part.startswith((b"\x1b$(", b"\x1b$)")) else 3]
    encoding = _strict(CODES_TO_ENCODINGS[escape])
    if encoding not in (*encodings, _DEFAULT_REPERTOIRE):
        raise LookupError("an escape sequence to a character set that the data set does not name")
    return part.decode(encoding) if encoding in handled_encodings else part[len(escape) :].decode(encoding)


_DEFAULT_REPERTOIRE = "ascii"
"""ISO-IR 6. pydicom takes Latin-1 for it, and would make up characters where nobody said which they are."""


def _strict(encoding: str) -> str:
    return _DEFAULT_REPERTOIRE if encoding == default_encoding else encoding
