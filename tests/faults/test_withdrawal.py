"""The consent is withdrawn while instances come and go: from then on nothing more leaves."""

from pathlib import Path
from time import monotonic

from gateway.domain.transfer import DeliveryState
from tests.faults.senders import Sender
from tests.scp.sink import running_sink
from tests.scp.site import CONSENTING, process_site
from tests.wait import PATIENCE_S, wait_until

NOT_AUTHORIZED = 0x0124


def test_withdrawal_in_the_middle(tmp_path: Path) -> None:
    arrivals: list[float] = []

    def taken(_: object) -> int:
        arrivals.append(monotonic())
        return 0x0000

    with running_sink() as sink:
        sink.answer = taken
        with process_site(tmp_path, sink.port) as site:
            senders = [Sender(site.port, CONSENTING, seed) for seed in range(3)]
            for sender in senders:
                sender.start()
            wait_until(lambda: len(sink.received) > 20, 60)
            site.withdraw(CONSENTING)
            withdrawn_at = monotonic()
            wait_until(lambda: all(NOT_AUTHORIZED in sender.refused for sender in senders), 30)
            for sender in senders:
                sender.stop()
            site.wait_until_settled()
            counts = site.deliveries()
            assert max(arrivals) < withdrawn_at + PATIENCE_S
            assert {status for sender in senders for status in sender.refused} == {NOT_AUTHORIZED}
            assert counts[DeliveryState.QUEUED] == counts[DeliveryState.ACTIVE] == counts[DeliveryState.FAILED] == 0
            acknowledged = {uid for sender in senders for uid in sender.acknowledged}
            blocked = counts[DeliveryState.BLOCKED_BY_CONSENT]
            assert counts[DeliveryState.COMPLETED] + blocked == len(acknowledged)
            assert counts[DeliveryState.COMPLETED] <= len(sink.digests)
