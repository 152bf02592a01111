"""Persons: an internal id, and the identifiers institutions know them by."""

import re
import unicodedata
from dataclasses import dataclass

from gateway.errors import InputError

PATIENT_ID_LIMIT_CHARACTERS = 64
"""PS3.5 §6.2, VR LO."""

_RESIDENT_NUMBER = re.compile(
    r"(?<![0-9])[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"
    r"[-\s\u00ad\u200b\u2010-\u2015\u2212]{0,3}"  # hyphens, dashes and spaces as people and word processors set them
    r"[0-9]{7}(?![0-9])"
)


def holds_resident_number(text: str) -> bool:
    """Whether the text contains something of the form of a 주민등록번호 (birth date and seven digits).

    Numbers given out since 2020 carry no checksum, so the form is all there is to go by. Digits and hyphens of other
    widths count as well.
    """
    return _RESIDENT_NUMBER.search(unicodedata.normalize("NFKC", text)) is not None


@dataclass(frozen=True, slots=True)
class PatientKey:
    """A PatientID qualified by the institution that issued it: bare ids of two hospitals never meet."""

    issuer_oid: str
    patient_id: str

    def __post_init__(self) -> None:
        if not self.patient_id.strip() or len(self.patient_id) > PATIENT_ID_LIMIT_CHARACTERS:
            raise InputError("patient id: expected 1 to 64 characters")
        if self.patient_id != self.patient_id.strip():
            raise InputError("patient id: leading and trailing spaces are not significant, leave them out")
        if not self.patient_id.isprintable() or "\\" in self.patient_id:
            raise InputError("patient id: control characters and backslash are not allowed")
        if holds_resident_number(self.patient_id):
            raise InputError("patient id: has the form of a resident registration number, which is never stored")
