"""C-ECHO, and what else may be asked on its context."""

from tests.scp.raw import C_CANCEL, C_FIND, ECHO_ID, VERIFICATION, RawPeer, command_set, echo_rq, p_data, pdv
from tests.scp.site import RunningSite

SUCCESS, UNRECOGNIZED_OPERATION = 0x0000, 0x0211


def test_an_echo_is_answered_with_the_id_of_its_request(peer: RawPeer) -> None:
    peer.send(p_data(pdv(ECHO_ID, echo_rq(message_id=0xABCD), command=True)))

    response = peer.response()

    assert response[0x0100] == b"\x30\x80"
    assert response[0x0120] == b"\xcd\xab"
    assert response[0x0002].rstrip(b"\0").decode() == VERIFICATION
    assert response[0x0800] == b"\x01\x01"
    assert response[0x0900] == b"\0\0"


def test_echoes_sent_without_waiting_are_answered_in_order(peer: RawPeer) -> None:
    peer.send(*(p_data(pdv(ECHO_ID, echo_rq(number), command=True)) for number in range(1, 101)))

    answered = [int.from_bytes(peer.response()[0x0120], "little") for _ in range(100)]

    assert answered == list(range(1, 101))


def test_an_echo_in_crumbs_is_answered(peer: RawPeer) -> None:
    request = echo_rq()
    for index in range(len(request)):
        last = index == len(request) - 1
        for byte in p_data(pdv(ECHO_ID, request[index : index + 1], command=True, last=last)):
            peer.send(bytes([byte]))

    assert peer.status() == SUCCESS


def test_other_operations_are_not_recognised_and_the_association_goes_on(peer: RawPeer) -> None:
    find = command_set({0x0002: VERIFICATION, 0x0100: C_FIND, 0x0110: 7, 0x0700: 0, 0x0800: 0})
    peer.send(p_data(pdv(ECHO_ID, find, command=True)), p_data(pdv(ECHO_ID, bytes(100))))

    assert peer.status() == UNRECOGNIZED_OPERATION
    assert peer.echo() == SUCCESS


def test_a_cancel_of_nothing_is_passed_over(peer: RawPeer) -> None:
    cancel = command_set({0x0100: C_CANCEL, 0x0120: 1, 0x0800: 0x0101})
    peer.send(p_data(pdv(ECHO_ID, cancel, command=True)))

    assert peer.echo() == SUCCESS


def test_the_destination_may_verify_us_too(site: RunningSite) -> None:
    with RawPeer(site.port) as peer:
        peer.associate("HOSPITAL_B")
        assert peer.echo() == SUCCESS
        peer.release()
