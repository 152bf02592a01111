"""A-ASSOCIATE-RQ and A-ASSOCIATE-AC: what is proposed and what is agreed (PS3.8 §9.3.2, §9.3.3).

Decoding tests what the standard lets a receiver test and no more: reserved fields are skipped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct

from gateway.errors import LimitExceeded, LocalProtocolError, RemoteProtocolError
from gateway.wire.codes import AbortReason, ContextResult, ItemType, PDUType
from gateway.wire.items import decode_uid, encode_item, encode_pdu, encode_uid, invalid, items_of
from gateway.wire.uids import APPLICATION_CONTEXT
from gateway.wire.user_information import UserInformation, decode_user_information

PRESENTATION_CONTEXT_LIMIT = 128
"""Presentation contexts in an association: the odd numbers of one byte."""

LARGEST_CONTEXT_ID = 255

TRANSFER_SYNTAXES_PER_CONTEXT_LIMIT = 64
"""Transfer syntaxes in one proposed context; more than there are in use."""

TRANSFER_SYNTAX_LIMIT = 1024
"""Transfer syntaxes in one A-ASSOCIATE-RQ over all contexts; bounds what a stranger can make us keep."""

UNKNOWN_ITEM_LIMIT = 64
"""Items of unknown type, which PS3.8 §9.3.1 wants ignored, in one A-ASSOCIATE PDU."""

AE_TITLE_BYTES = 16
PROTOCOL_VERSION = 0x0001

_FIXED_PART = Struct(">Hxx16s16s32x")
_CONTEXT_HEAD = Struct(">BxBx")


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context as the requestor proposes it (PS3.8 §9.3.2.2)."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]

    def encode(self) -> bytes:
        """The presentation context item."""
        parts = [_CONTEXT_HEAD.pack(self.context_id, 0)]
        parts.append(encode_item(ItemType.ABSTRACT_SYNTAX, encode_uid(self.abstract_syntax)))
        parts += [encode_item(ItemType.TRANSFER_SYNTAX, encode_uid(uid)) for uid in self.transfer_syntaxes]
        return encode_item(ItemType.PROPOSED_CONTEXT, b"".join(parts))


@dataclass(frozen=True, slots=True)
class NegotiatedContext:
    """A presentation context as the acceptor answers it (PS3.8 §9.3.3.2).

    `transfer_syntax` means nothing, and may be empty, unless `result` is ACCEPTANCE.
    """

    context_id: int
    result: ContextResult
    transfer_syntax: str

    def encode(self) -> bytes:
        """The presentation context item."""
        is_named = self.result is ContextResult.ACCEPTANCE or self.transfer_syntax
        uid = encode_uid(self.transfer_syntax) if is_named else b""
        content = _CONTEXT_HEAD.pack(self.context_id, self.result) + encode_item(ItemType.TRANSFER_SYNTAX, uid)
        return encode_item(ItemType.NEGOTIATED_CONTEXT, content)


@dataclass(frozen=True, slots=True)
class AssociateRQ:
    """A-ASSOCIATE-RQ (PS3.8 §9.3.2).

    Whoever admits the association tests `protocol_version` (only bit 0 counts) and `application_context`,
    since the answer to a wrong one is a rejection, not an abort.
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
        _check_counts(self.presentation_contexts, LocalProtocolError)
        for title in (self.called_ae_title, self.calling_ae_title):
            if not _is_ae_title(title):
                raise LocalProtocolError(f"not an AE title: {title!r}")
        contexts = [context.encode() for context in self.presentation_contexts]
        return encode_pdu(PDUType.ASSOCIATE_RQ, _encode_body(self, contexts))


@dataclass(frozen=True, slots=True)
class AssociateAC:
    """A-ASSOCIATE-AC (PS3.8 §9.3.3). The titles repeat those of the request and are not tested."""

    called_ae_title: str
    calling_ae_title: str
    presentation_contexts: tuple[NegotiatedContext, ...]
    user_information: UserInformation
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = PROTOCOL_VERSION

    def encode(self) -> bytes:
        """The whole PDU; raises LocalProtocolError where a value does not fit."""
        _check_ids([context.context_id for context in self.presentation_contexts], LocalProtocolError)
        contexts = [context.encode() for context in self.presentation_contexts]
        return encode_pdu(PDUType.ASSOCIATE_AC, _encode_body(self, contexts))


def _encode_body(associate: AssociateRQ | AssociateAC, contexts: list[bytes]) -> bytes:
    titles = _pad(associate.called_ae_title), _pad(associate.calling_ae_title)
    fixed_part = _FIXED_PART.pack(associate.protocol_version, *titles)
    application_context = encode_item(ItemType.APPLICATION_CONTEXT, encode_uid(associate.application_context))
    return b"".join((fixed_part, application_context, *contexts, associate.user_information.encode()))


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

    Characters above ASCII are let through: they match no configured title, and refusing those is admission's
    work.
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
    if any(not 1 <= context_id <= LARGEST_CONTEXT_ID or context_id % 2 == 0 for context_id in context_ids):
        raise error("a presentation context id is not an odd number from 1 to 255")
    if len(set(context_ids)) != len(context_ids):
        raise error("a presentation context id is used twice")


def _check_proposed(contexts: tuple[ProposedContext, ...], error: Callable[[str], Exception]) -> None:
    _check_ids([context.context_id for context in contexts], error)
    if not contexts:
        raise error("no presentation context proposed")
    if not all(context.transfer_syntaxes for context in contexts):
        raise error("a presentation context without a transfer syntax")


def _check_counts(contexts: tuple[ProposedContext, ...], error: Callable[[str], Exception]) -> None:
    counts = [len(context.transfer_syntaxes) for context in contexts]
    if max(counts) > TRANSFER_SYNTAXES_PER_CONTEXT_LIMIT or sum(counts) > TRANSFER_SYNTAX_LIMIT:
        raise error("too many transfer syntaxes proposed")


def _too_many(message: str) -> LimitExceeded:
    return LimitExceeded(message, AbortReason.INVALID)


@dataclass(slots=True)
class _AssociateItems:
    """The variable part of an A-ASSOCIATE PDU: one application context, contexts, one user information."""

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
                raise _too_many(f"more than {PRESENTATION_CONTEXT_LIMIT} presentation contexts")
        elif item_type == ItemType.USER_INFORMATION and user_information is None:
            user_information = decode_user_information(content)
        elif item_type in (ItemType.APPLICATION_CONTEXT, ItemType.USER_INFORMATION):
            raise invalid(f"item 0x{item_type:02X} twice in A-ASSOCIATE")
        else:
            unknown_count += 1
            if unknown_count > UNKNOWN_ITEM_LIMIT:
                raise _too_many(f"more than {UNKNOWN_ITEM_LIMIT} unknown items in A-ASSOCIATE")
    if application_context is None or user_information is None:
        raise invalid("A-ASSOCIATE without application context or user information")
    return _AssociateItems(application_context, contexts, user_information)


def _fixed_part(body: memoryview) -> tuple[int, bytes, bytes]:
    if len(body) < _FIXED_PART.size:
        raise invalid("A-ASSOCIATE shorter than its fixed part")
    version, called, calling = _FIXED_PART.unpack_from(body)
    return version, called, calling


def decode_associate_rq(body: memoryview) -> AssociateRQ:
    """The request from what follows the PDU header; raises RemoteProtocolError or LimitExceeded."""
    version, called, calling = _fixed_part(body)
    items = _associate_items(body[_FIXED_PART.size :], ItemType.PROPOSED_CONTEXT)
    contexts = tuple(_decode_proposed(content) for content in items.contexts)
    _check_proposed(contexts, invalid)
    _check_counts(contexts, _too_many)
    return AssociateRQ(
        called_ae_title=_ae_title(called),
        calling_ae_title=_ae_title(calling),
        presentation_contexts=contexts,
        user_information=items.user_information,
        application_context=items.application_context,
        protocol_version=version,
    )


def decode_associate_ac(body: memoryview) -> AssociateAC:
    """The acceptance from what follows the PDU header; raises RemoteProtocolError or LimitExceeded."""
    version, called, calling = _fixed_part(body)
    items = _associate_items(body[_FIXED_PART.size :], ItemType.NEGOTIATED_CONTEXT)
    contexts = tuple(_decode_negotiated(content) for content in items.contexts)
    _check_ids([context.context_id for context in contexts], invalid)
    return AssociateAC(
        called_ae_title=_untested_ae_title(called),
        calling_ae_title=_untested_ae_title(calling),
        presentation_contexts=contexts,
        user_information=items.user_information,
        application_context=items.application_context,
        protocol_version=version,
    )


def _context_parts(content: memoryview) -> tuple[int, int, list[tuple[int, memoryview]]]:
    """Context id, result, and type and content of each sub-item."""
    if len(content) < _CONTEXT_HEAD.size:
        raise invalid("a presentation context shorter than four bytes")
    context_id, result = _CONTEXT_HEAD.unpack_from(content)
    parts: list[tuple[int, memoryview]] = []
    for part in items_of(content[_CONTEXT_HEAD.size :]):
        parts.append(part)
        if len(parts) > TRANSFER_SYNTAXES_PER_CONTEXT_LIMIT + 1:
            raise _too_many("too many sub-items in a presentation context")
    return context_id, result, parts


def _decode_proposed(content: memoryview) -> ProposedContext:
    context_id, _, parts = _context_parts(content)
    abstract = [decode_uid(part) for item_type, part in parts if item_type == ItemType.ABSTRACT_SYNTAX]
    syntaxes = [decode_uid(part) for item_type, part in parts if item_type == ItemType.TRANSFER_SYNTAX]
    if len(abstract) != 1:
        raise invalid("a presentation context needs exactly one abstract syntax")
    return ProposedContext(context_id, abstract[0], tuple(syntaxes))


def _decode_negotiated(content: memoryview) -> NegotiatedContext:
    context_id, number, parts = _context_parts(content)
    try:
        result = ContextResult(number)
    except ValueError:
        raise invalid(f"unknown result {number} of a presentation context") from None
    syntaxes = [part for item_type, part in parts if item_type == ItemType.TRANSFER_SYNTAX]
    if result is ContextResult.ACCEPTANCE:
        if len(syntaxes) != 1:
            raise invalid("an accepted presentation context needs exactly one transfer syntax")
        return NegotiatedContext(context_id, result, decode_uid(syntaxes[0]))
    # The syntax of a refused context is not significant, so whatever stands there is no error.
    try:
        return NegotiatedContext(context_id, result, decode_uid(syntaxes[0]) if syntaxes else "")
    except RemoteProtocolError:
        return NegotiatedContext(context_id, result, "")
