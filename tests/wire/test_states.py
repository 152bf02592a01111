"""The state table agrees with an independent copy of PS3.8 Table 9-10."""

from pynetdicom import fsm

from gateway.wire.states import TRANSITIONS, Action, ProtocolEvent, State


def test_table_is_the_one_of_the_standard() -> None:
    ours = {(event.value, state.value): move.action.value for (state, event), move in TRANSITIONS.items()}

    assert ours == fsm.TRANSITION_TABLE


def test_next_states_are_those_of_the_standard() -> None:
    for transition in TRANSITIONS.values():
        expected = fsm.ACTIONS[transition.action.value][2]
        assert tuple(state.value for state in transition.next_states) == (
            expected if isinstance(expected, tuple) else (expected,)
        )


def test_names_cover_the_standard() -> None:
    assert {state.value for state in State} == set(fsm.STATES)
    assert {event.value for event in ProtocolEvent} == set(fsm.EVENTS)
    assert {action.value for action in Action} == set(fsm.ACTIONS)


def test_every_received_pdu_has_an_answer_in_every_state_with_a_transport() -> None:
    received = [event for event in ProtocolEvent if event.name.endswith("_PDU")]
    without_pdus = {State.IDLE, State.AWAITING_TRANSPORT_OPEN}

    missing = [
        (state, event)
        for state in State
        for event in received
        if state not in without_pdus and (state, event) not in TRANSITIONS
    ]
    assert missing == []
