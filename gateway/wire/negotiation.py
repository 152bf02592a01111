"""Presentation context negotiation as pure functions (PS3.8 §9.3.2.2, PS3.7 Annex D.3)."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.wire.head import can_read_head
from gateway.wire.items import invalid
from gateway.wire.pdu import AssociateAC, AssociateRQ, ContextResult, NegotiatedContext, ProposedContext
from gateway.wire.uids import EXPLICIT_VR_LITTLE_ENDIAN


@dataclass(frozen=True, slots=True)
class AcceptedContext:
    """A presentation context both sides agreed on."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str


def prefer_as_sent(transfer_syntaxes: tuple[str, ...]) -> str | None:
    """Explicit VR Little Endian if offered, else the first whose data sets can be read, else None.

    The first is the one the peer keeps its instances in, so nothing is decoded on the way.
    """
    if EXPLICIT_VR_LITTLE_ENDIAN in transfer_syntaxes:
        return EXPLICIT_VR_LITTLE_ENDIAN
    return next((uid for uid in transfer_syntaxes if can_read_head(uid)), None)


def negotiate(
    request: AssociateRQ,
    is_supported: Callable[[str], bool],
    choose_transfer_syntax: Callable[[tuple[str, ...]], str | None] = prefer_as_sent,
) -> tuple[NegotiatedContext, ...]:
    """The acceptor's answer to every proposed context, in the order of the request.

    `is_supported` is asked for the abstract syntax; `choose_transfer_syntax` picks one of those proposed, or
    None.
    """
    return tuple(_answer(context, is_supported, choose_transfer_syntax) for context in request.presentation_contexts)


def _answer(
    context: ProposedContext,
    is_supported: Callable[[str], bool],
    choose_transfer_syntax: Callable[[tuple[str, ...]], str | None],
) -> NegotiatedContext:
    # A refused context needs a transfer syntax item too, though it means nothing there.
    first = context.transfer_syntaxes[0]
    if not is_supported(context.abstract_syntax):
        return NegotiatedContext(context.context_id, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, first)
    chosen = choose_transfer_syntax(context.transfer_syntaxes)
    if chosen is None:
        return NegotiatedContext(context.context_id, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, first)
    return NegotiatedContext(context.context_id, ContextResult.ACCEPTANCE, chosen)


def accepted_contexts(request: AssociateRQ, response: AssociateAC) -> dict[int, AcceptedContext]:
    """The contexts in force, by id; one the response leaves out is not in force.

    Raises:
        RemoteProtocolError: the response accepts a context, or a transfer syntax, that was not proposed.
    """
    proposed = {context.context_id: context for context in request.presentation_contexts}
    accepted: dict[int, AcceptedContext] = {}
    for answer in response.presentation_contexts:
        context = proposed.get(answer.context_id)
        if context is None:
            raise invalid(f"presentation context {answer.context_id} was not proposed")
        if answer.result is not ContextResult.ACCEPTANCE:
            continue
        if answer.transfer_syntax not in context.transfer_syntaxes:
            raise invalid(f"presentation context {answer.context_id} was accepted with a syntax not proposed")
        accepted[context.context_id] = AcceptedContext(
            context.context_id, context.abstract_syntax, answer.transfer_syntax
        )
    return accepted
