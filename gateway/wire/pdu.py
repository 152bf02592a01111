"""The seven PDUs of the upper layer as values (PS3.8 §9.3).

`encode()` of each gives the whole PDU; `decode_pdu` reads the part after the six header bytes. Decoding tests what the
standard lets a receiver test and no more: reserved fields are skipped. The user information item is in
`gateway.wire.user_information`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from types import MappingProxyType

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.wire.items import (
    AbortReason,
    ItemType,
    decode_uid,
    encode_item,
    encode_uid,
    invalid,
    items_of,
)
from gateway.wire.uids import APPLICATION_CONTEXT
from gateway.wire.user_information import (
    AsynchronousOperationsWindow,
    RoleSelection,
    UserInformation,
    decode_user_information,
)

__all__ = [
    "PDU",
    "PDU_HEADER_BYTES",
    "PDV",
    "Abort",
    "AbortReason",
    "AbortSource",
    "AcseRejectReason",
    "AssociateAC",
    "AssociateRJ",
    "AssociateRQ",
    "AsynchronousOperationsWindow",
    "ContextResult",
    "NegotiatedContext",
    "PDUType",
    "PDataTF",
    "PresentationRejectReason",
    "ProposedContext",
    "RejectResult",
    "RejectSource",
    "ReleaseRP",
    "ReleaseRQ",
    "RoleSelection",
    "UserInformation",
    "UserRejectReason",
    "decode_pdu",
]

PDU_HEADER_BYTES = 6
"""Type, reserved byte and length of every PDU."""

PRESENTATION_CONTEXT_LIMIT = 128
"""Presentation contexts in an association: the odd numbers of one byte."""

TRANSFER_SYNTAXES_PER_CONTEXT_LIMIT = 64
"""Transfer syntaxes in one proposed context; more than there are in use."""

TRANSFER_SYNTAX_LIMIT = 1024
"""Transfer syntaxes in one A-ASSOCIATE-RQ over all contexts; bounds what a stranger can make us keep."""

UNKNOWN_ITEM_LIMIT = 64
"""Items of unknown type, which PS3.8 §9.3.1 wants ignored, in one A-ASSOCIATE PDU."""

AE_TITLE_BYTES = 16
PROTOCOL_VERSION = 0x0001

_HEADER = Struct(">BxI")
_ASSOCIATE_FIXED = Struct(">Hxx16s16s32x")
_FOUR_BYTES = Struct(">xBBB")
_PDV_HEADER = Struct(">IBB")
_COMMAND_BIT = 0x01
_LAST_BIT = 0x02


class PDUType(IntEnum):
    """First byte of a PDU (PS3.8 §9.3.1)."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


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


class UserRejectReason(IntEnum):
    """Reasons of source SERVICE_USER."""

    NO_REASON_GIVEN = 1
    APPLICATION_CONTEXT_NAME_NOT_SUPPORTED = 2
    CALLING_AE_TITLE_NOT_RECOGNIZED = 3
    CALLED_AE_TITLE_NOT_RECOGNIZED = 7


class AcseRejectReason(IntEnum):
    """Reasons of source SERVICE_PROVIDER_ACSE."""

    NO_REASON_GIVEN = 1
    PROTOCOL_VERSION_NOT_SUPPORTED = 2


class PresentationRejectReason(IntEnum):
    """Reasons of source SERVICE_PROVIDER_PRESENTATION."""

    TEMPORARY_CONGESTION = 1
    LOCAL_LIMIT_EXCEEDED = 2


class AbortSource(IntEnum):
    """Who aborted (PS3.8 Table 9-26)."""

    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


_REASONS: Mapping[RejectSource, type[IntEnum]] = MappingProxyType(
    {
        RejectSource.SERVICE_USER: UserRejectReason,
        RejectSource.SERVICE_PROVIDER_ACSE: AcseRejectReason,
        RejectSource.SERVICE_PROVIDER_PRESENTATION: PresentationRejectReason,
    }
)


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context as the requestor proposes it (PS3.8 §9.3.2.2)."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NegotiatedContext:
    """A presentation context as the acceptor answers it (PS3.8 §9.3.3.2).

    `transfer_syntax` means nothing, and may be empty, unless `result` is ACCEPTANCE.
    """

    context_id: int
    result: ContextResult
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class AssociateRQ:
    """A-ASSOCIATE-RQ (PS3.8 §9.3.2).

    Whoever admits the association tests `protocol_version` (only bit 0 counts) and `application_context`, since the
    answer to a wrong one is a rejection, not an abort.
    """

    called_ae_title: str
    calling_ae_title: str
    presentation_contexts: tuple[ProposedContext, ...]
    user_information: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = PROTOCOL_VERSION

    def encode(self) -> bytes:
        """The whole PDU; raises LocalProtocolError where a value does not fit."""
        _check_proposed(self.presentation_contexts, LocalProtocolError)
        for title in (self.called_ae_title, self.calling_ae_title):
            if not _is_ae_title(title):
                raise LocalProtocolError(f"not an AE title: {title!r}")
        body = [
            _ASSOCIATE_FIXED.pack(self.protocol_version, _pad(self.called_ae_title), _pad(self.calling_ae_title)),
            encode_item(ItemType.APPLICATION_CONTEXT, encode_uid(self.application_context)),
        ]
        for context in self.presentation_contexts:
            syntaxes = [encode_item(ItemType.TRANSFER_SYNTAX, encode_uid(uid)) for uid in context.transfer_syntaxes]
            content = bytes((context.context_id, 0, 0, 0))
            content += encode_item(ItemType.ABSTRACT_SYNTAX, encode_uid(context.abstract_syntax)) + b"".join(syntaxes)
            body.append(encode_item(ItemType.PROPOSED_CONTEXT, content))
        body.append(self.user_information.encode())
        return _pdu(PDUType.ASSOCIATE_RQ, b"".join(body))


@dataclass(frozen=True, slots=True)
class AssociateAC:
    """A-ASSOCIATE-AC (PS3.8 §9.3.3). The titles repeat those of the request and are not tested by a receiver."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[NegotiatedContext, ...]
    user_information: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = PROTOCOL_VERSION

    def encode(self) -> bytes:
        """The whole PDU; raises LocalProtocolError where a value does not fit."""
        _check_ids([context.context_id for context in self.contexts], LocalProtocolError)
        body = [
            _ASSOCIATE_FIXED.pack(self.protocol_version, _pad(self.called_ae_title), _pad(self.calling_ae_title)),
            encode_item(ItemType.APPLICATION_CONTEXT, encode_uid(self.application_context)),
        ]
        for context in self.contexts:
            accepted = context.result is ContextResult.ACCEPTANCE
            uid = encode_uid(context.transfer_syntax) if accepted or context.transfer_syntax else b""
            content = bytes((context.context_id, 0, context.result, 0)) + encode_item(ItemType.TRANSFER_SYNTAX, uid)
            body.append(encode_item(ItemType.NEGOTIATED_CONTEXT, content))
        body.append(self.user_information.encode())
        return _pdu(PDUType.ASSOCIATE_AC, b"".join(body))


@dataclass(frozen=True, slots=True)
class AssociateRJ:
    """A-ASSOCIATE-RJ (PS3.8 §9.3.4); `reason` is a number of the reason enum that belongs to `source`."""

    result: RejectResult
    source: RejectSource
    reason: int

    @property
    def words(self) -> str:
        """Result, source and reason as a person reads them."""
        reasons = {int(reason): reason.name for reason in _REASONS[self.source]}
        reason = reasons.get(self.reason, f"REASON_{self.reason}").lower().replace("_", " ").replace("ae title", "AE title")
        source = {
            RejectSource.SERVICE_USER: "by the application",
            RejectSource.SERVICE_PROVIDER_ACSE: "by the service provider (ACSE)",
            RejectSource.SERVICE_PROVIDER_PRESENTATION: "by the service provider (presentation)",
        }[self.source]
        again = {RejectResult.PERMANENT: "permanently", RejectResult.TRANSIENT: "for now"}[self.result]
        return f"rejected {again} {source}: {reason}"

    def encode(self) -> bytes:
        """The whole PDU."""
        return _pdu(PDUType.ASSOCIATE_RJ, _FOUR_BYTES.pack(self.result, self.source, self.reason))


@dataclass(frozen=True, slots=True)
class PDV:
    """One presentation data value: a fragment of a command set or a data set (PS3.8 §9.3.5.1, Annex E.2)."""

    context_id: int
    is_command: bool
    is_last: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class PDataTF:
    """P-DATA-TF as a value (PS3.8 §9.3.5). Bulk data does not take this form: see `message` and `reassembly`."""

    pdvs: tuple[PDV, ...]

    def encode(self) -> bytes:
        """The whole PDU."""
        parts = []
        for pdv in self.pdvs:
            control = _COMMAND_BIT * pdv.is_command | _LAST_BIT * pdv.is_last
            parts += [_PDV_HEADER.pack(len(pdv.data) + 2, pdv.context_id, control), pdv.data]
        return _pdu(PDUType.P_DATA_TF, b"".join(parts))


@dataclass(frozen=True, slots=True)
class ReleaseRQ:
    """A-RELEASE-RQ (PS3.8 §9.3.6)."""

    def encode(self) -> bytes:
        """The whole PDU."""
        return _pdu(PDUType.RELEASE_RQ, bytes(4))


@dataclass(frozen=True, slots=True)
class ReleaseRP:
    """A-RELEASE-RP (PS3.8 §9.3.7)."""

    def encode(self) -> bytes:
        """The whole PDU."""
        return _pdu(PDUType.RELEASE_RP, bytes(4))


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (PS3.8 §9.3.8); `reason` counts only from the service provider."""

    source: AbortSource
    reason: int = 0

    def encode(self) -> bytes:
        """The whole PDU."""
        return _pdu(PDUType.ABORT, _FOUR_BYTES.pack(0, self.source, self.reason))


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
            return _decode_associate_rq(view)
        case PDUType.ASSOCIATE_AC:
            return _decode_associate_ac(view)
        case PDUType.P_DATA_TF:
            return _decode_p_data(view)
        case PDUType.ASSOCIATE_RJ | PDUType.RELEASE_RQ | PDUType.RELEASE_RP | PDUType.ABORT:
            return _decode_four_bytes(PDUType(pdu_type), view)
    raise RemoteProtocolError(f"unknown PDU type 0x{pdu_type:02X}", AbortReason.UNRECOGNIZED_PDU)


def _pdu(pdu_type: PDUType, body: bytes) -> bytes:
    return _HEADER.pack(pdu_type, len(body)) + body


def _pad(ae_title: str) -> bytes:
    try:
        text = ae_title.encode("latin-1")
    except UnicodeEncodeError:
        raise LocalProtocolError(f"not an AE title: {ae_title!r}") from None
    if len(text) > AE_TITLE_BYTES:
        raise LocalProtocolError(f"AE title longer than {AE_TITLE_BYTES} characters: {ae_title!r}")
    return text.ljust(AE_TITLE_BYTES)


def _is_ae_title(title: str) -> bool:
    """PS3.5 §6.2: the default repertoire without control characters and backslash, not only spaces.

    Characters above ASCII are let through: they match no configured title, and refusing those is admission's work.
    """
    return bool(title.strip(" ")) and not any(character < " " or character in "\x7f\\" for character in title)


def _ae_title(field: bytes) -> str:
    title = _untested_ae_title(field)
    if not _is_ae_title(title):
        raise invalid("an AE title is blank or holds a control character")
    return title


def _untested_ae_title(field: bytes) -> str:
    # Some devices fill with NUL instead of the space.
    return field.decode("latin-1").rstrip("\0 ").lstrip(" ")


def _check_ids(context_ids: list[int], error: Callable[[str], Exception]) -> None:
    if len(context_ids) > PRESENTATION_CONTEXT_LIMIT:
        raise error(f"more than {PRESENTATION_CONTEXT_LIMIT} presentation contexts")
    if any(not 1 <= context_id <= 255 or context_id % 2 == 0 for context_id in context_ids):
        raise error("a presentation context id is not an odd number from 1 to 255")
    if len(set(context_ids)) != len(context_ids):
        raise error("a presentation context id is used twice")


def _check_proposed(contexts: tuple[ProposedContext, ...], error: Callable[[str], Exception]) -> None:
    _check_ids([context.context_id for context in contexts], error)
    if not contexts:
        raise error("no presentation context proposed")
    counts = [len(context.transfer_syntaxes) for context in contexts]
    if min(counts) == 0:
        raise error("a presentation context without a transfer syntax")
    if max(counts) > TRANSFER_SYNTAXES_PER_CONTEXT_LIMIT or sum(counts) > TRANSFER_SYNTAX_LIMIT:
        raise error("too many transfer syntaxes proposed")


@dataclass(slots=True)
class _AssociateItems:
    """The variable part of A-ASSOCIATE-RQ and -AC: one application context, contexts, one user information."""

    application_context: str
    contexts: list[memoryview]
    user_information: UserInformation


def _associate_items(body: memoryview, context_type: ItemType) -> _AssociateItems:
    application_context: str | None = None
    user_information: UserInformation | None = None
    contexts: list[memoryview] = []
    unknown_count = 0
    for item_type, content in items_of(body):
        if item_type == ItemType.APPLICATION_CONTEXT and application_context is None:
            application_context = decode_uid(content)
        elif item_type == context_type:
            contexts.append(content)
            if len(contexts) > PRESENTATION_CONTEXT_LIMIT:
                raise LimitExceeded(f"more than {PRESENTATION_CONTEXT_LIMIT} presentation contexts", AbortReason.INVALID)
        elif item_type == ItemType.USER_INFORMATION and user_information is None:
            user_information = decode_user_information(content)
        elif item_type in (ItemType.APPLICATION_CONTEXT, ItemType.USER_INFORMATION):
            raise invalid(f"item 0x{item_type:02X} twice in A-ASSOCIATE")
        else:
            unknown_count += 1
            if unknown_count > UNKNOWN_ITEM_LIMIT:
                raise LimitExceeded(f"more than {UNKNOWN_ITEM_LIMIT} unknown items in A-ASSOCIATE", AbortReason.INVALID)
    if application_context is None or user_information is None:
        raise invalid("A-ASSOCIATE without application context or user information")
    return _AssociateItems(application_context, contexts, user_information)


def _fixed_part(body: memoryview) -> tuple[int, bytes, bytes]:
    if len(body) < _ASSOCIATE_FIXED.size:
        raise invalid("A-ASSOCIATE shorter than its fixed part")
    version, called, calling = _ASSOCIATE_FIXED.unpack_from(body)
    return version, called, calling


def _decode_associate_rq(body: memoryview) -> AssociateRQ:
    version, called, calling = _fixed_part(body)
    items = _associate_items(body[_ASSOCIATE_FIXED.size :], ItemType.PROPOSED_CONTEXT)
    contexts = tuple(_decode_proposed(content) for content in items.contexts)
    _check_proposed(contexts, invalid)
    return AssociateRQ(
        called_ae_title=_ae_title(called),
        calling_ae_title=_ae_title(calling),
        presentation_contexts=contexts,
        user_information=items.user_information,
        application_context=items.application_context,
        protocol_version=version,
    )


def _decode_associate_ac(body: memoryview) -> AssociateAC:
    version, called, calling = _fixed_part(body)
    items = _associate_items(body[_ASSOCIATE_FIXED.size :], ItemType.NEGOTIATED_CONTEXT)
    contexts = tuple(_decode_negotiated(content) for content in items.contexts)
    _check_ids([context.context_id for context in contexts], invalid)
    return AssociateAC(
        called_ae_title=_untested_ae_title(called),
        calling_ae_title=_untested_ae_title(calling),
        contexts=contexts,
        user_information=items.user_information,
        application_context=items.application_context,
        protocol_version=version,
    )


def _context_parts(content: memoryview) -> tuple[memoryview, list[tuple[int, memoryview]]]:
    if len(content) < 4:
        raise invalid("a presentation context shorter than four bytes")
    parts = []
    for part in items_of(content[4:]):
        parts.append(part)
        if len(parts) > TRANSFER_SYNTAXES_PER_CONTEXT_LIMIT + 1:
            raise LimitExceeded("too many sub-items in a presentation context", AbortReason.INVALID)
    return content[:4], parts


def _decode_proposed(content: memoryview) -> ProposedContext:
    head, parts = _context_parts(content)
    abstract = [decode_uid(part) for item_type, part in parts if item_type == ItemType.ABSTRACT_SYNTAX]
    syntaxes = [decode_uid(part) for item_type, part in parts if item_type == ItemType.TRANSFER_SYNTAX]
    if len(abstract) != 1:
        raise invalid("a presentation context needs exactly one abstract syntax")
    return ProposedContext(head[0], abstract[0], tuple(syntaxes))


def _decode_negotiated(content: memoryview) -> NegotiatedContext:
    head, parts = _context_parts(content)
    try:
        result = ContextResult(head[2])
    except ValueError:
        raise invalid(f"unknown result {head[2]} of a presentation context") from None
    syntaxes = [part for item_type, part in parts if item_type == ItemType.TRANSFER_SYNTAX]
    if result is ContextResult.ACCEPTANCE:
        if len(syntaxes) != 1:
            raise invalid("an accepted presentation context needs exactly one transfer syntax")
        return NegotiatedContext(head[0], result, decode_uid(syntaxes[0]))
    # The syntax of a refused context is not significant, so whatever stands there is no error.
    try:
        return NegotiatedContext(head[0], result, decode_uid(syntaxes[0]) if syntaxes else "")
    except RemoteProtocolError:
        return NegotiatedContext(head[0], result, "")


def _decode_p_data(body: memoryview) -> PDataTF:
    pdvs = []
    position = 0
    while position < len(body):
        if len(body) - position < _PDV_HEADER.size:
            raise invalid("a PDV shorter than its header")
        length, context_id, control = _PDV_HEADER.unpack_from(body, position)
        end = position + 4 + length
        if length < 2 or end > len(body):
            raise invalid("a PDV length that does not fit its PDU")
        data = bytes(body[position + _PDV_HEADER.size : end])
        pdvs.append(PDV(context_id, bool(control & _COMMAND_BIT), bool(control & _LAST_BIT), data))
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
        return AssociateRJ(RejectResult(result), RejectSource(source), reason)
    except ValueError:
        raise invalid(f"A-ASSOCIATE-RJ with unknown result {result} or source {source}") from None
