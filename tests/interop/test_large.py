"""Large instances, which leave while they arrive, towards archives that people have."""

from hashlib import sha256
from pathlib import Path

import pytest

from gateway.domain.transfer import DeliveryState
from gateway.ops.counterparts import OrthancServer, StoreScp
from gateway.scu.orthanc import Level
from gateway.transfer.cut_through import CUT_THROUGH_BYTES
from tests.interop.conftest import MODALITY, TO_DCMTK, TO_ORTHANC, Exchange
from tests.interop.series import MADE_PATIENT, source
from tests.scp.raw import RawPeer, data_set, new_uid, store_pdus
from tests.wait import wait_until

pytestmark = pytest.mark.interop

SUCCESS = 0x0000
GIVEN_UP = "cut_through_given_up"
"""What the gateway logs of an instance that began to leave, and will not be."""


def large(uid: str) -> bytes:
    return data_set(uid, MADE_PATIENT, pixels=b"\x01\x02" * CUT_THROUGH_BYTES)


def break_off(exchange: Exchange, called: str, uid: str) -> None:
    """Send three quarters of an instance, and go away."""
    count = exchange.site.log.count(GIVEN_UP)
    pdus = list(store_pdus(uid, large(uid)))
    with RawPeer(exchange.port) as peer:
        peer.associate(MODALITY, called)
        peer.send(*pdus[: len(pdus) * 3 // 4])
    wait_until(lambda: exchange.site.log.count(GIVEN_UP) == count + 1)


def send(exchange: Exchange, called: str, uid: str) -> None:
    """Send all of it, and wait until it has been delivered."""
    wait_until(exchange.site.settled)
    count = exchange.site.deliveries()[DeliveryState.COMPLETED]
    with RawPeer(exchange.port) as peer:
        peer.associate(MODALITY, called)
        assert peer.store(uid, large(uid)) == SUCCESS
        peer.release()
    wait_until(lambda: exchange.site.deliveries()[DeliveryState.COMPLETED] == count + 1)


@pytest.mark.needs("orthanc")
def test_orthanc_has_an_instance_whole_or_not_at_all(exchange: Exchange, orthanc_b: OrthancServer) -> None:
    uid = new_uid()
    with orthanc_b.node() as node:
        break_off(exchange, TO_ORTHANC, uid)
        assert not node.lookup(Level.INSTANCE, uid)
        send(exchange, TO_ORTHANC, uid)
        (instance_id,) = node.lookup(Level.INSTANCE, uid)
        assert large(uid)[-2 * CUT_THROUGH_BYTES :] in node.download(instance_id)


@pytest.mark.needs("dcmtk")
def test_storescp_has_an_instance_whole_or_not_at_all(exchange: Exchange, storescp: StoreScp) -> None:
    uid = new_uid()

    def kept() -> list[Path]:
        return [path for path in storescp.files() if uid in path.name]

    break_off(exchange, TO_DCMTK, uid)
    assert kept() == []
    send(exchange, TO_DCMTK, uid)
    (path,) = kept()

    assert source(path).sha256 == sha256(large(uid)).hexdigest()
