"""Numbers of the upper layer protocol by name (PS3.8 §9.3, PS3.7 Annex D.3.3)."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Self

_BYTE = 0xFF


class PDUType(IntEnum):
    """First byte of a PDU (PS3.8 §9.3.1)."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class ItemType(IntEnum):
    """Types of items and sub-items (PS3.8 §9.3.2, PS3.7 Annex D.3.3)."""

    APPLICATION_CONTEXT = 0x10
    PROPOSED_CONTEXT = 0x20
    NEGOTIATED_CONTEXT = 0x21
    ABSTRACT_SYNTAX = 0x30
    TRANSFER_SYNTAX = 0x40
    USER_INFORMATION = 0x50
    MAXIMUM_LENGTH = 0x51
    IMPLEMENTATION_CLASS_UID = 0x52
    ASYNCHRONOUS_OPERATIONS_WINDOW = 0x53
    ROLE_SELECTION = 0x54
    IMPLEMENTATION_VERSION_NAME = 0x55
    SOP_CLASS_EXTENDED_NEGOTIATION = 0x56
    SOP_CLASS_COMMON_EXTENDED_NEGOTIATION = 0x57
    USER_IDENTITY_RQ = 0x58
    USER_IDENTITY_AC = 0x59


class ContextResult(IntEnum):
    """Result/reason of a presentation context in A-ASSOCIATE-AC (PS3.8 Table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


class RejectResult(IntEnum):
    """Whether trying again may help (PS3.8 Table 9-21)."""

    PERMANENT = 1
    TRANSIENT = 2


class RejectSource(IntEnum):
    """Who rejected (PS3.8 Table 9-21); it decides what the reason means."""

    SERVICE_USER = 1
    SERVICE_PROVIDER_ACSE = 2
    SERVICE_PROVIDER_PRESENTATION = 3


class _Reason(IntEnum):
    """Reasons of an A-ASSOCIATE-RJ; numbers the standard reserves are kept as received."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int) or not 0 <= value <= _BYTE:
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = f"RESERVED_{value}", value
        return member


class RejectReasonUser(_Reason):
    """Reasons of source SERVICE_USER."""

    NO_REASON_GIVEN = 1
    APPLICATION_CONTEXT_NAME_NOT_SUPPORTED = 2
    CALLING_AE_TITLE_NOT_RECOGNIZED = 3
    CALLED_AE_TITLE_NOT_RECOGNIZED = 7


class RejectReasonAcse(_Reason):
    """Reasons of source SERVICE_PROVIDER_ACSE."""

    NO_REASON_GIVEN = 1
    PROTOCOL_VERSION_NOT_SUPPORTED = 2


class RejectReasonPresentation(_Reason):
    """Reasons of source SERVICE_PROVIDER_PRESENTATION."""

    TEMPORARY_CONGESTION = 1
    LOCAL_LIMIT_EXCEEDED = 2


RejectReason = RejectReasonUser | RejectReasonAcse | RejectReasonPresentation

REJECT_REASONS: Mapping[RejectSource, type[RejectReason]] = MappingProxyType(
    {
        RejectSource.SERVICE_USER: RejectReasonUser,
        RejectSource.SERVICE_PROVIDER_ACSE: RejectReasonAcse,
        RejectSource.SERVICE_PROVIDER_PRESENTATION: RejectReasonPresentation,
    }
)
"""Which reasons a source has."""


class AbortSource(IntEnum):
    """Who aborted (PS3.8 Table 9-26)."""

    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


class AbortReason(IntEnum):
    """Reason/diagnostic of an A-ABORT from the service provider (PS3.8 Table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID = 6
