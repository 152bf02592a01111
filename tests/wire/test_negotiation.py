"""Negotiation is pure: the same answer to the same proposal, and pynetdicom's where it has the same choice."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import AllTransferSyntaxes
from pynetdicom.presentation import PresentationContext, build_context, negotiate_as_acceptor

from gateway.errors import RemoteProtocolError
from gateway.wire import uids
from gateway.wire.negotiation import AcceptedContext, accepted_contexts, negotiate, prefer_as_sent
from gateway.wire.pdu import AssociateAC, AssociateRQ, ContextResult, NegotiatedContext, ProposedContext
from tests.wire import strategies
from tests.wire.pair import CT_CONTEXT, CT_IMAGE_STORAGE, ECHO_CONTEXT, a_request, an_acceptance

PRIVATE = "1.2.840.113619.5.2"
EXPLICIT, IMPLICIT = uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ((IMPLICIT, EXPLICIT), EXPLICIT),
        ((uids.JPEG_2000_LOSSLESS, IMPLICIT), uids.JPEG_2000_LOSSLESS),
        ((PRIVATE, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN), uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN),
        ((uids.EXPLICIT_VR_BIG_ENDIAN,), uids.EXPLICIT_VR_BIG_ENDIAN),
        ((PRIVATE,), None),
        (("1.2.840.10008.1.20",), None),
        ((), None),
    ],
)
def test_preference(offered: tuple[str, ...], chosen: str | None) -> None:
    assert prefer_as_sent(offered) == chosen


@pytest.mark.parametrize("syntax", [str(uid) for uid in AllTransferSyntaxes if not uid.is_private])
def test_every_transfer_syntax_of_a_data_set_is_taken(syntax: str) -> None:
    is_data_set = not syntax.startswith("1.2.840.10008.1.2.7.")  # real-time video is no data set

    assert prefer_as_sent((syntax,)) == (syntax if is_data_set else None)


def test_every_context_is_answered_with_its_result() -> None:
    request = replace(
        a_request(),
        presentation_contexts=(
            ProposedContext(1, CT_IMAGE_STORAGE, (IMPLICIT, EXPLICIT)),
            ProposedContext(5, CT_IMAGE_STORAGE, (PRIVATE,)),
            ProposedContext(9, "1.2.3", (EXPLICIT,)),
        ),
    )

    assert negotiate(request, lambda uid: uid == CT_IMAGE_STORAGE, prefer_as_sent) == (
        NegotiatedContext(1, ContextResult.ACCEPTANCE, EXPLICIT),
        NegotiatedContext(5, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, PRIVATE),
        NegotiatedContext(9, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, EXPLICIT),
    )


@given(strategies.associate_rqs, st.data())
@settings(max_examples=50)
def test_results_are_those_of_pynetdicom(request: AssociateRQ, data: st.DataObject) -> None:
    """With one syntax supported there is no choice, so both must come to the same result."""
    contexts = request.presentation_contexts
    abstract = data.draw(st.sets(st.sampled_from([context.abstract_syntax for context in contexts])))
    syntax = data.draw(st.sampled_from([uid for context in contexts for uid in context.transfer_syntaxes]))

    ours = negotiate(request, abstract.__contains__, lambda offered: syntax if syntax in offered else None)

    proposed = []
    for context in contexts:
        proposal = PresentationContext()
        proposal.context_id, proposal.abstract_syntax = context.context_id, context.abstract_syntax
        proposal.transfer_syntax = list(context.transfer_syntaxes)
        proposed.append(proposal)
    theirs, _ = negotiate_as_acceptor(proposed, [build_context(uid, syntax) for uid in abstract])
    assert {context.context_id: context.result for context in ours} == {
        context.context_id: context.result for context in theirs
    }


def test_contexts_in_force_are_those_accepted() -> None:
    request = a_request()

    assert accepted_contexts(request, an_acceptance(request)) == {
        ECHO_CONTEXT: AcceptedContext(ECHO_CONTEXT, uids.VERIFICATION, IMPLICIT),
        CT_CONTEXT: AcceptedContext(CT_CONTEXT, CT_IMAGE_STORAGE, EXPLICIT),
    }


def answering(*contexts: NegotiatedContext) -> AssociateAC:
    return replace(an_acceptance(a_request()), presentation_contexts=contexts)


def test_contexts_left_out_are_not_in_force() -> None:
    assert accepted_contexts(a_request(), answering()) == {}


@pytest.mark.parametrize(
    "context",
    [
        NegotiatedContext(7, ContextResult.ACCEPTANCE, IMPLICIT),
        NegotiatedContext(7, ContextResult.NO_REASON, IMPLICIT),
        NegotiatedContext(ECHO_CONTEXT, ContextResult.ACCEPTANCE, EXPLICIT),
    ],
)
def test_what_was_not_proposed_cannot_be_accepted(context: NegotiatedContext) -> None:
    with pytest.raises(RemoteProtocolError):
        accepted_contexts(a_request(), answering(context))
