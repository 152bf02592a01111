"""What the gateway knows of a composite instance: its head, read in passing."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.domain.person import PatientKey


class Content(StrEnum):
    """What an instance or document is to the exchange rules."""

    CT_OR_MR = "CT_OR_MR"
    COMPANION = "COMPANION"
    """Structured report, presentation state, key object selection, encapsulated document."""
    DOCUMENT = "DOCUMENT"
    OTHER = "OTHER"


_STORAGE = "1.2.840.10008.5.1.4.1.1."
_CT_OR_MR = frozenset(
    _STORAGE + suffix
    for suffix in (
        "2",  # CT Image
        "2.1",  # Enhanced CT Image
        "2.2",  # Legacy Converted Enhanced CT Image
        "4",  # MR Image
        "4.1",  # Enhanced MR Image
        "4.2",  # MR Spectroscopy
        "4.3",  # Enhanced MR Color Image
        "4.4",  # Legacy Converted Enhanced MR Image
    )
)
_COMPANION_ROOTS = (
    _STORAGE + "88.",  # Structured Report family and Key Object Selection
    _STORAGE + "11.",  # Presentation State family
    _STORAGE + "104.",  # Encapsulated PDF, CDA, ...
)


def content_of(sop_class_uid: str) -> Content:
    """Classify a SOP class for the exchange: CT and MR, their companions, or anything else."""
    if sop_class_uid in _CT_OR_MR:
        return Content.CT_OR_MR
    if sop_class_uid.startswith(_COMPANION_ROOTS):
        return Content.COMPANION
    return Content.OTHER


@dataclass(frozen=True, slots=True)
class InstanceHead:
    """The identity of an instance, from its data set; the command set's claims have been checked against it."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    patient: PatientKey
    accession_number: str
    modality: str

    @property
    def content(self) -> Content:
        return content_of(self.sop_class_uid)
