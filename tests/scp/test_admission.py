"""Who may open an association, as another implementation sees it: pynetdicom reads our A-ASSOCIATE-RJ."""

from collections.abc import Iterator

import pytest
from pynetdicom import AE

from gateway.domain.network import Network
from gateway.domain.peer import ApplicationEntity
from gateway.domain.transfer import Route
from gateway.scp.admission import admit
from gateway.wire.pdu import AssociateRJ, AssociateRQ, ProposedContext, UserInformation
from tests.scp.raw import LOOPBACK, RJ, VERIFICATION, RawPeer, associate_rq
from tests.scp.site import ANYWHERE, DESTINATION, ELSEWHERE, GATEWAY, HOSPITAL_A, SENDER, RunningSite
from tests.wait import wait_until

PERMANENT, TRANSIENT = 1, 2
USER, ACSE, PRESENTATION = 1, 2, 3
ATTEMPTS = 5
CONTEXT_NAME, CALLING, CALLED, VERSION = 2, 3, 7, 2


@pytest.fixture
def ae() -> Iterator[AE]:
    ae = AE()
    ae.add_requested_context(VERIFICATION)
    yield ae
    ae.shutdown()


def rejection(ae: AE, port: int, calling: str, called: str) -> tuple[int, int, int] | None:
    """Result, source and reason as pynetdicom understood them; None when the association was accepted.

    Now and then pynetdicom takes a rejection for an abort, whoever sent it; then it is asked again.
    """
    ae.ae_title = calling
    for _ in range(ATTEMPTS):
        association = ae.associate(LOOPBACK, port, ae_title=called)
        if association.is_established:
            association.release()
            return None
        answer = association.acceptor.primitive
        if association.is_rejected and answer is not None:
            return answer.result, answer.result_source, answer.diagnostic
    raise AssertionError("neither accepted nor rejected")


@pytest.mark.parametrize(
    ("calling", "called", "expected"),
    [
        (SENDER, GATEWAY, None),
        (DESTINATION, GATEWAY, None),
        ("NOBODY", GATEWAY, (PERMANENT, USER, CALLING)),
        (SENDER.lower(), GATEWAY, (PERMANENT, USER, CALLING)),
        (ELSEWHERE, GATEWAY, (PERMANENT, USER, CALLING)),
        (SENDER, "SOMEONE_ELSE", (PERMANENT, USER, CALLED)),
        (SENDER, DESTINATION, (PERMANENT, USER, CALLED)),
        ("NOBODY", "SOMEONE_ELSE", (PERMANENT, USER, CALLED)),
    ],
)
def test_only_registered_titles_at_registered_addresses_are_admitted(
    site: RunningSite, ae: AE, calling: str, called: str, expected: tuple[int, int, int] | None
) -> None:
    assert rejection(ae, site.port, calling, called) == expected


def test_a_registered_title_is_rejected_from_another_address_of_this_machine(site: RunningSite) -> None:
    with RawPeer(site.port, source="127.0.0.2") as peer:
        peer.send(associate_rq())

        assert peer.read_to_end() == [(RJ, bytes([0, PERMANENT, USER, CALLING]))]


def test_a_title_given_to_a_route_is_ours_from_then_on(site: RunningSite, ae: AE) -> None:
    assert rejection(ae, site.port, SENDER, "TO_B") == (PERMANENT, USER, CALLED)

    site.route("by-title", DESTINATION, called="TO_B")

    wait_until(lambda: rejection(ae, site.port, SENDER, "TO_B") is None, timeout_s=1.0)


@pytest.mark.parametrize(
    ("request_pdu", "expected"),
    [
        (associate_rq(version=2), (PERMANENT, ACSE, VERSION)),
        (associate_rq(version=0), (PERMANENT, ACSE, VERSION)),
        (associate_rq(application_context="1.2.840.10008.3.1.1.2"), (PERMANENT, USER, CONTEXT_NAME)),
        (associate_rq("NOBODY", application_context="1.2.3"), (PERMANENT, USER, CONTEXT_NAME)),
    ],
)
def test_other_versions_and_application_contexts_are_rejected(
    site: RunningSite, request_pdu: bytes, expected: tuple[int, int, int]
) -> None:
    with RawPeer(site.port) as peer:
        peer.send(request_pdu)

        assert peer.read_to_end() == [(RJ, bytes([0, *expected]))]


def test_later_versions_beside_the_first_are_no_reason_to_reject(site: RunningSite) -> None:
    with RawPeer(site.port) as peer:
        peer.associate(version=3)
        peer.release()


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_an_address_counts_in_both_of_its_forms(address: str) -> None:
    peer = ApplicationEntity("PEER", HOSPITAL_A, LOOPBACK, 104, ANYWHERE)
    network = Network(epoch=1, institutions={}, application_entities={"PEER": peer}, routes=())

    assert admit(_request("PEER"), address, network, GATEWAY) is peer
    assert isinstance(admit(_request("PEER"), "127.0.0.2", network, GATEWAY), AssociateRJ)


def test_a_peer_without_addresses_may_not_call() -> None:
    peer = ApplicationEntity("PEER", HOSPITAL_A, LOOPBACK, 104)
    network = Network(epoch=1, institutions={}, application_entities={"PEER": peer}, routes=(Route("any", "PEER"),))

    assert isinstance(admit(_request("PEER"), LOOPBACK, network, GATEWAY), AssociateRJ)


def _request(calling: str) -> AssociateRQ:
    contexts = (ProposedContext(1, VERIFICATION, ("1.2.840.10008.1.2",)),)
    return AssociateRQ(GATEWAY, calling, contexts, UserInformation(16_384))
