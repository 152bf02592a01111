"""Values of the upper layer for property tests."""

from hypothesis import strategies as st

from gateway.wire import pdu
from gateway.wire.codes import REJECT_REASONS, ItemType
from gateway.wire.command import (
    RESPONSE_BIT,
    CCancelRQ,
    CEchoRQ,
    CEchoRSP,
    CommandField,
    CStoreRQ,
    CStoreRSP,
    OtherCommand,
    Tag,
)

SINGLE_ITEMS = {
    ItemType.MAXIMUM_LENGTH,
    ItemType.IMPLEMENTATION_CLASS_UID,
    ItemType.ASYNCHRONOUS_OPERATIONS_WINDOW,
    ItemType.ROLE_SELECTION,
    ItemType.IMPLEMENTATION_VERSION_NAME,
}

numbers_16 = st.integers(0, 0xFFFF)
components = st.one_of(st.just("0"), st.integers(1, 10**12).map(str))
uids = st.lists(components, min_size=2, max_size=9).map(".".join).filter(lambda uid: len(uid) <= 64)
visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="\\")
spaced = st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="\\")
ae_titles = st.text(spaced, min_size=1, max_size=16).map(lambda title: title.strip(" ")).filter(bool)
texts = st.text(spaced, max_size=64).map(lambda text: text.strip(" ")).filter(bool)
context_ids = st.integers(0, 127).map(lambda number: 2 * number + 1)

user_informations = st.builds(
    pdu.UserInformation,
    maximum_length=st.integers(0, 0xFFFFFFFF),
    implementation_class_uid=st.none() | uids,
    implementation_version_name=st.none() | ae_titles,
    asynchronous_operations_window=st.none() | st.builds(pdu.AsynchronousOperationsWindow, numbers_16, numbers_16),
    role_selections=st.lists(st.builds(pdu.RoleSelection, uids, st.booleans(), st.booleans()), max_size=4).map(tuple),
    other_items=st.lists(
        st.tuples(st.integers(0, 255).filter(lambda number: number not in SINGLE_ITEMS), st.binary(max_size=40)),
        max_size=4,
    ).map(tuple),
)


def _unique(contexts: list) -> tuple:  # type: ignore[type-arg]
    return tuple({context.context_id: context for context in contexts}.values())


proposed_contexts = st.builds(pdu.ProposedContext, context_ids, uids, st.lists(uids, min_size=1, max_size=6).map(tuple))
negotiated_contexts = st.one_of(
    st.builds(pdu.NegotiatedContext, context_ids, st.sampled_from(pdu.ContextResult), uids),
    st.builds(pdu.NegotiatedContext, context_ids, st.sampled_from(list(pdu.ContextResult)[1:]), st.just("")),
)

associate_rqs = st.builds(
    pdu.AssociateRQ,
    called_ae_title=ae_titles,
    calling_ae_title=ae_titles,
    presentation_contexts=st.lists(proposed_contexts, min_size=1, max_size=6).map(_unique),
    user_information=user_informations,
    application_context=uids,
    protocol_version=numbers_16,
)
associate_acs = st.builds(
    pdu.AssociateAC,
    called_ae_title=st.just("") | ae_titles,
    calling_ae_title=st.just("") | ae_titles,
    presentation_contexts=st.lists(negotiated_contexts, max_size=6).map(_unique),
    user_information=user_informations,
    application_context=uids,
    protocol_version=numbers_16,
)
associate_rjs = st.sampled_from(pdu.RejectSource).flatmap(
    lambda source: st.builds(
        pdu.AssociateRJ,
        st.sampled_from(pdu.RejectResult),
        st.just(source),
        st.sampled_from(list(REJECT_REASONS[source])) | st.integers(0, 255).map(REJECT_REASONS[source]),
    )
)
pdvs = st.builds(pdu.PDV, st.integers(0, 255), st.booleans(), st.booleans(), st.binary(max_size=64))
p_data_tfs = st.builds(pdu.PDataTF, st.lists(pdvs, min_size=1, max_size=5).map(tuple))
aborts = st.builds(pdu.Abort, st.sampled_from(pdu.AbortSource), st.integers(0, 255))
pdus = st.one_of(
    associate_rqs,
    associate_acs,
    associate_rjs,
    p_data_tfs,
    st.just(pdu.ReleaseRQ()),
    st.just(pdu.ReleaseRP()),
    aborts,
)

echo_requests = st.builds(CEchoRQ, numbers_16, uids)
echo_responses = st.builds(CEchoRSP, numbers_16, st.none() | uids, numbers_16)
store_requests = st.builds(CStoreRQ, numbers_16, uids, uids, numbers_16, st.none() | ae_titles, st.none() | numbers_16)
store_responses = st.builds(CStoreRSP, numbers_16, st.none() | uids, st.none() | uids, numbers_16, st.none() | texts)
cancels = st.builds(CCancelRQ, numbers_16)

_OTHER_FIELDS = [
    field for field in CommandField if field not in (CommandField.C_ECHO, CommandField.C_STORE, CommandField.C_CANCEL)
]
_other_elements = st.dictionaries(
    st.sampled_from([Tag.PRIORITY, Tag.REQUESTED_SOP_CLASS_UID, Tag.REQUESTED_SOP_INSTANCE_UID, 0x0600, 0x1005]).map(
        int
    ),
    st.binary(max_size=32).filter(lambda value: len(value) % 2 == 0),
    max_size=3,
).map(lambda elements: tuple(sorted(elements.items())))
other_requests = st.builds(
    OtherCommand,
    command_field=st.sampled_from(_OTHER_FIELDS).map(int),
    message_id=numbers_16,
    affected_sop_class_uid=st.none() | uids,
    has_data_set=st.booleans(),
    elements=_other_elements,
)
other_responses = st.builds(
    OtherCommand,
    command_field=st.sampled_from(_OTHER_FIELDS).map(lambda field: field | RESPONSE_BIT),
    message_id=numbers_16,
    affected_sop_class_uid=st.none() | uids,
    has_data_set=st.booleans(),
    status=numbers_16,
    elements=_other_elements,
)
commands = st.one_of(
    echo_requests, echo_responses, store_requests, store_responses, cancels, other_requests, other_responses
)
