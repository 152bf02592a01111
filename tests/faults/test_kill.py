"""kill -9 at any moment: what was acknowledged arrives, whole, and nothing arrives torn.

The senders' own record is held against the destination's; the gateway is not asked.
"""

import random
from pathlib import Path

from tests.faults.senders import Sender
from tests.scp.sink import running_sink
from tests.scp.site import CONSENTING, ProcessSite
from tests.wait import wait_until

KILL_COUNT = 10
SENDER_COUNT = 3
MOST_BETWEEN_KILLS = 60
"""Acknowledgements after which the gateway is killed, at most; chosen anew for each kill."""


def test_what_was_acknowledged_survives_kills(tmp_path: Path) -> None:
    chance = random.Random(20)
    with running_sink() as sink:
        site = ProcessSite(tmp_path, sink.port, delivery__first_retry_s=0.2, delivery__longest_retry_s=0.5)
        senders = [Sender(site.port, CONSENTING, seed) for seed in range(SENDER_COUNT)]
        try:
            for number in range(KILL_COUNT):
                site.node.start()
                if number == 0:
                    for sender in senders:
                        sender.start()
                enough = sum(len(s.acknowledged) for s in senders) + chance.randrange(1, MOST_BETWEEN_KILLS)
                wait_until(lambda enough=enough: sum(len(s.acknowledged) for s in senders) >= enough, 60)
                site.node.kill()
            site.node.start()
            for sender in senders:
                sender.stop()
            site.wait_until_settled(60)
        finally:
            site.node.stop()
            site.close()
    sent = {uid: digest for sender in senders for uid, digest in sender.sent.items()}
    acknowledged = {uid for sender in senders for uid in sender.acknowledged}
    assert len(acknowledged) > KILL_COUNT
    assert not [status for sender in senders for status in sender.refused]
    lost = {uid for uid in acknowledged if sink.digests.get(uid) != {sent[uid]}}
    assert not lost
    assert all(digests == {sent[uid]} for uid, digests in sink.digests.items()), "torn or altered"
