"""The seven PDUs of the upper layer as values (PS3.8 §9.3).

`encode()` of each gives the whole PDU; `decode_pdu` reads the part after the six header bytes.
"""

from dataclasses import dataclass
from struct import Struct

from gateway.errors import RemoteProtocolError
from gateway.wire.associate import (
    AssociateAC,
    AssociateRQ,
    NegotiatedContext,
    ProposedContext,
    decode_associate_ac,
    decode_associate_rq,
)
from gateway.wire.codes import (
    REJECT_REASONS,
    AbortReason,
    AbortSource,
    ContextResult,
    PDUType,
    RejectReason,
    RejectReasonAcse,
    RejectReasonPresentation,
    RejectReasonUser,
    RejectResult,
    RejectSource,
)
from gateway.wire.items import (
    COMMAND_BIT,
    LAST_BIT,
    PDU_HEADER_BYTES,
    PDV_CONTROL_BYTES,
    PDV_HEADER,
    PDV_LENGTH_BYTES,
    encode_pdu,
    invalid,
)
from gateway.wire.user_information import AsynchronousOperationsWindow, RoleSelection, UserInformation

__all__ = [
    "PDU",
    "PDU_HEADER_BYTES",
    "PDV",
    "Abort",
    "AbortReason",
    "AbortSource",
    "AssociateAC",
    "AssociateRJ",
    "AssociateRQ",
    "AsynchronousOperationsWindow",
    "ContextResult",
    "NegotiatedContext",
    "PDUType",
    "PDataTF",
    "ProposedContext",
    "RejectReason",
    "RejectReasonAcse",
    "RejectReasonPresentation",
    "RejectReasonUser",
    "RejectResult",
    "RejectSource",
    "ReleaseRP",
    "ReleaseRQ",
    "RoleSelection",
    "UserInformation",
    "decode_pdu",
]

_FOUR_BYTES = Struct(">xBBB")


@dataclass(frozen=True, slots=True)
class AssociateRJ:
    """A-ASSOCIATE-RJ (PS3.8 §9.3.4); `reason` is one of those that `source` has."""

    result: RejectResult
    source: RejectSource
    reason: RejectReason

    @property
    def words(self) -> str:
        """Result, source and reason as a person reads them."""
        source = {
            RejectSource.SERVICE_USER: "by the application",
            RejectSource.SERVICE_PROVIDER_ACSE: "by the service provider (ACSE)",
            RejectSource.SERVICE_PROVIDER_PRESENTATION: "by the service provider (presentation)",
        }[self.source]
        again = {RejectResult.PERMANENT: "permanently", RejectResult.TRANSIENT: "for now"}[self.result]
        reason = self.reason.name.lower().replace("_", " ").replace("ae title", "AE title")
        return f"rejected {again} {source}: {reason}"

    def encode(self) -> bytes:
        """The whole PDU."""
        return encode_pdu(PDUType.ASSOCIATE_RJ, _FOUR_BYTES.pack(self.result, self.source, self.reason))


@dataclass(frozen=True, slots=True)
class PDV:
    """One presentation data value: a fragment of a command set or a data set (PS3.8 §9.3.5.1, Annex E.2)."""

    context_id: int
    is_command: bool
    is_last: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class PDataTF:
    """P-DATA-TF as a value (PS3.8 §9.3.5); bulk data goes by `message` and `reassembly` instead."""

    pdvs: tuple[PDV, ...]

    def encode(self) -> bytes:
        """The whole PDU."""
        parts = []
        for pdv in self.pdvs:
            control = COMMAND_BIT * pdv.is_command | LAST_BIT * pdv.is_last
            parts += [PDV_HEADER.pack(len(pdv.data) + PDV_CONTROL_BYTES, pdv.context_id, control), pdv.data]
        return encode_pdu(PDUType.P_DATA_TF, b"".join(parts))


@dataclass(frozen=True, slots=True)
class ReleaseRQ:
    """A-RELEASE-RQ (PS3.8 §9.3.6)."""

    def encode(self) -> bytes:
        """The whole PDU."""
        return encode_pdu(PDUType.RELEASE_RQ, bytes(4))


@dataclass(frozen=True, slots=True)
class ReleaseRP:
    """A-RELEASE-RP (PS3.8 §9.3.7)."""

    def encode(self) -> bytes:
        """The whole PDU."""
        return encode_pdu(PDUType.RELEASE_RP, bytes(4))


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 §9.3.8); `reason` counts only from the service provider."""

    source: AbortSource
    reason: int = 0

    def encode(self) -> bytes:
        """The whole PDU."""
        return encode_pdu(PDUType.ABORT, _FOUR_BYTES.pack(0, self.source, self.reason))


PDU = AssociateRQ | AssociateAC | AssociateRJ | PDataTF | ReleaseRQ | ReleaseRP | Abort


def decode_pdu(pdu_type: int, body: memoryview | bytes) -> PDU:
    """The value of a PDU from its type and everything after the header.

    Raises:
        RemoteProtocolError: unknown type, or a body that breaks PS3.8 §9.3; with the A-ABORT reason.
        LimitExceeded: more contexts, syntaxes or items than the limits of this module.
    """
    view = memoryview(body)
    match pdu_type:
        case PDUType.ASSOCIATE_RQ:
            return decode_associate_rq(view)
        case PDUType.ASSOCIATE_AC:
            return decode_associate_ac(view)
        case PDUType.P_DATA_TF:
            return _decode_p_data(view)
        case PDUType.ASSOCIATE_RJ | PDUType.RELEASE_RQ | PDUType.RELEASE_RP | PDUType.ABORT:
            return _decode_four_bytes(PDUType(pdu_type), view)
    raise RemoteProtocolError(f"unknown PDU type 0x{pdu_type:02X}", AbortReason.UNRECOGNIZED_PDU)


def _decode_p_data(body: memoryview) -> PDataTF:
    pdvs = []
    position = 0
    while position < len(body):
        if len(body) - position < PDV_HEADER.size:
            raise invalid("a PDV shorter than its header")
        length, context_id, control = PDV_HEADER.unpack_from(body, position)
        end = position + PDV_LENGTH_BYTES + length
        if length < PDV_CONTROL_BYTES or end > len(body):
            raise invalid("a PDV length that does not fit its PDU")
        data = bytes(body[position + PDV_HEADER.size : end])
        pdvs.append(PDV(context_id, bool(control & COMMAND_BIT), bool(control & LAST_BIT), data))
        position = end
    if not pdvs:
        raise invalid("P-DATA-TF without a PDV")
    return PDataTF(tuple(pdvs))


def _decode_four_bytes(pdu_type: PDUType, body: memoryview) -> AssociateRJ | ReleaseRQ | ReleaseRP | Abort:
    if len(body) != _FOUR_BYTES.size:
        raise invalid(f"{pdu_type.name} must have 4 bytes, not {len(body)}")
    result, source, reason = _FOUR_BYTES.unpack(body)
    match pdu_type:
        case PDUType.RELEASE_RQ:
            return ReleaseRQ()
        case PDUType.RELEASE_RP:
            return ReleaseRP()
        case PDUType.ABORT:
            # An abort with a reserved source is still an abort.
            user = source == AbortSource.SERVICE_USER
            return Abort(AbortSource.SERVICE_USER if user else AbortSource.SERVICE_PROVIDER, reason)
    try:
        reject_source = RejectSource(source)
        return AssociateRJ(RejectResult(result), reject_source, REJECT_REASONS[reject_source](reason))
    except ValueError:
        raise invalid(f"A-ASSOCIATE-RJ with unknown result {result} or source {source}") from None
