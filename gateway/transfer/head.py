"""From the raw elements of a head to the identity of the instance."""

from collections.abc import Mapping

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import TEXT_VR_DELIMS

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
UNTIL = SERIES_INSTANCE_UID
"""The last element the gateway needs; usually within the first 9 KB."""


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
        accession_number=_text(elements, ACCESSION_NUMBER, "Accession Number"),
        modality=_text(elements, MODALITY, "Modality"),
    )


def _uid(elements: Mapping[int, bytes], tag: int, name: str) -> str:
    text = elements.get(tag, b"").rstrip(b"\0 ").decode("ascii", "replace")
    if not is_valid_uid(text):
        raise MalformedDataSet(f"{name} is missing or malformed")
    return text


def _patient(elements: Mapping[int, bytes], issuer_oid: str) -> PatientKey:
    patient_id = _text(elements, PATIENT_ID, "Patient ID")
    if not patient_id:
        raise MalformedDataSet("Patient ID is missing")
    try:
        return PatientKey(issuer_oid, patient_id)
    except InputError as error:
        raise MalformedDataSet("Patient ID has a form that is not accepted") from error


def _text(elements: Mapping[int, bytes], tag: int, name: str) -> str:
    """A short text in the data set's own character set; decoded strictly, since people are matched by it."""
    raw = elements.get(tag, b"").rstrip(b"\0")
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii").strip()
    terms = elements.get(SPECIFIC_CHARACTER_SET, b"").decode("ascii", "replace").rstrip("\0 ").split("\\")
    try:
        encodings = convert_encodings([term.strip() for term in terms])
        text = decode_bytes(raw, encodings, TEXT_VR_DELIMS)
    except (LookupError, UnicodeError, ValueError) as error:
        raise MalformedDataSet(f"{name} cannot be read in the character set the data set names") from error
    if "\ufffd" in text:
        raise MalformedDataSet(f"{name} cannot be read in the character set the data set names")
    return text.strip()
