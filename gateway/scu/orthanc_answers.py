"""What an Orthanc says of itself and of its jobs, as values. Works with Orthanc 1.10.1 and later.

Reading an answer of another shape raises KeyError, TypeError, AttributeError or ValueError.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ERROR_TEXT_MAX_CHARS = 200
"""Of Orthanc's own words about a failed job; enough for two AE titles and a status."""

_DIMSE_STATUS = re.compile(r"DIMSE status 0x([0-9A-Fa-f]{4})\b")


class Level(StrEnum):
    """Query/retrieve level, as Orthanc writes it."""

    PATIENT = "Patient"
    STUDY = "Study"
    SERIES = "Series"
    INSTANCE = "Instance"


class JobState(StrEnum):
    """State of a job, as Orthanc writes it."""

    PENDING = "Pending"
    RUNNING = "Running"
    PAUSED = "Paused"
    RETRY = "Retry"
    SUCCESS = "Success"
    FAILURE = "Failure"

    @property
    def final(self) -> bool:
        return self in (JobState.SUCCESS, JobState.FAILURE)


@dataclass(frozen=True, slots=True)
class Job:
    """A job. Of a failed one, `error` holds Orthanc's reason in one line.

    `dimse_status` is the status of the C-STORE that made it fail (PS3.7 Annex C), None where untold.
    """

    job_id: str
    state: JobState
    progress_percent: int
    error: str = ""
    dimse_status: int | None = None

    @classmethod
    def read(cls, answer: Any) -> "Job":
        """From the answer of `/jobs/{id}`."""
        job_id, state, progress = str(answer["ID"]), JobState(answer["State"]), int(answer.get("Progress", 0))
        if state is not JobState.FAILURE:
            return cls(job_id, state, progress)
        details = str(answer.get("ErrorDetails") or "")
        description = str(answer.get("ErrorDescription") or "no reason given")
        error = printable(f"{description}: {details}" if details else description)
        return cls(job_id, state, progress, error, _dimse_status(answer.get("ErrorPayload"), details))


@dataclass(frozen=True, slots=True)
class System:
    """Version, name and DICOM address of a server."""

    version: str
    name: str
    aet: str
    dicom_port: int

    @classmethod
    def read(cls, answer: Any) -> "System":
        """From the answer of `/system`."""
        return cls(
            version=str(answer["Version"]),
            name=str(answer.get("Name", "")),
            aet=str(answer.get("DicomAet", "")),
            dicom_port=int(answer.get("DicomPort", 0)),
        )


@dataclass(frozen=True, slots=True)
class Statistics:
    """How much a server holds."""

    patients: int
    studies: int
    series: int
    instances: int
    disk_size_bytes: int

    @classmethod
    def read(cls, answer: Any) -> "Statistics":
        """From the answer of `/statistics`."""
        return cls(
            patients=int(answer["CountPatients"]),
            studies=int(answer["CountStudies"]),
            series=int(answer["CountSeries"]),
            instances=int(answer["CountInstances"]),
            disk_size_bytes=int(answer["TotalDiskSize"]),
        )


def printable(text: str) -> str:
    """Another system's words, cut to one line of a message."""
    return "".join(c if c.isprintable() else " " for c in text[:ERROR_TEXT_MAX_CHARS])


def _dimse_status(payload: Any, details: str) -> int | None:
    """From the field that Orthanc has since 1.12.10, else from its words."""
    if isinstance(payload, dict) and isinstance(payload.get("DimseErrorStatus"), int):
        return int(payload["DimseErrorStatus"])
    found = _DIMSE_STATUS.search(details)
    return int(found[1], 16) if found else None
