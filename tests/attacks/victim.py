"""A gateway under attack: what it may cost, and who must not notice."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

from tests.scp.raw import ABORT, AC, RJ, RawPeer, associate_rq, data_set, new_uid, store_pdus
from tests.scp.site import CONSENTING, DESTINATION, ProcessSite
from tests.wait import wait_until

INSIDER = "STORESCU"
"""Calls from 127.0.0.1 with a registered AE title: an attacker who has got that far."""
GOOD = "GOOD"
GOOD_ADDRESS = "127.0.0.3"

ASSOCIATIONS_PER_PEER = 8
LIMITS = {
    "scp__associate_timeout_s": 1.0,
    "scp__idle_timeout_s": 3.0,
    "scp__minimum_rate_bytes_per_s": 10_000,
    "scp__minimum_rate_window_s": 1.0,
    "scp__associations": 16,
    "scp__associations_per_peer": ASSOCIATIONS_PER_PEER,
    "scp__half_open": 32,
    "scp__half_open_per_address": 8,
    "spool__instance_limit_bytes": 4 << 20,
    "delivery__associations": 1,  # kept open, so that deliveries neither take nor give back memory meanwhile
    "delivery__linger_s": 30.0,
}

MEMORY_BYTES = 1 << 20
"""What an attack with one association may cost at its worst moment: its receive buffer of 256 KiB, a thread, noise."""

PAUSE_S = 0.03
"""Between two instances of the good sender."""

GAP_S = 30.0
"""Longest wait of the good sender for one answer, on a machine with other things to do."""


class GoodSender:
    """A peer that stores one small instance after another on one association, all the time."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self.longest_s = 0.0
        self.statuses: set[int] = set()
        self.failure: BaseException | None = None
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        wait_until(self.is_admitted)
        self._thread.start()
        wait_until(lambda: self.count > 0)

    def is_admitted(self) -> bool:
        with RawPeer(self._port, source=GOOD_ADDRESS) as peer:
            peer.send(associate_rq(GOOD))
            answer = peer.read_pdu()
        return answer is not None and answer[0] == AC

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with RawPeer(self._port, source=GOOD_ADDRESS) as peer:
                peer.associate(GOOD)
                while not self._stop.wait(PAUSE_S):
                    began, uid = monotonic(), new_uid()
                    self.statuses.add(peer.store(uid, data_set(uid, CONSENTING)))
                    self.longest_s = max(self.longest_s, monotonic() - began)
                    self.count += 1
                peer.release()
        except BaseException as failure:  # shown by the test that looks
            self.failure = failure


NO_ROOM = (RJ, bytes([0, 2, 3, 2]))
"""PS3.8 §9.3.4: rejected for now, by the presentation related service provider, local limit exceeded."""


class Victim:
    """The gateway, a good sender at work, and what is seen from outside."""

    def __init__(self, site: ProcessSite) -> None:
        self.site = site
        self.good = GoodSender(site.port)
        self._log_read = 0

    @property
    def port(self) -> int:
        return self.site.port

    def peer(self, source: str = "127.0.0.1") -> RawPeer:
        return RawPeer(self.port, source)

    @contextmanager
    def associated(self) -> Iterator[RawPeer]:
        """The insider with an association, as soon as there is room for one: who left a moment ago may still count."""
        peer = wait_until(self._admitted)
        with peer:
            yield peer

    def _admitted(self) -> RawPeer | None:
        """The insider with an association; None when there is no room for one."""
        with ExitStack() as stack:
            peer = stack.enter_context(self.peer())
            peer.send(associate_rq(INSIDER))
            answer = peer.read_pdu()
            if answer == NO_ROOM:
                return None
            assert answer is not None, "closed instead of an answer to A-ASSOCIATE-RQ"
            assert answer[0] == AC, f"PDU type {answer[0]} {answer[1].hex()} instead of A-ASSOCIATE-AC"
            stack.pop_all()
            return peer

    def memory_bytes(self, field: str = "VmRSS") -> int:
        status = Path(f"/proc/{self.site.node.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(field + ":"))

    @contextmanager
    def costs_at_most(self, limit_bytes: int = MEMORY_BYTES) -> Iterator[None]:
        """The most memory held during the block, against what was held before it."""
        Path(f"/proc/{self.site.node.pid}/clear_refs").write_text("5", encoding="ascii")  # forget the peak
        before = self.memory_bytes()
        yield
        cost_bytes = self.memory_bytes("VmHWM") - before
        assert cost_bytes <= limit_bytes

    def warm_up(self) -> None:
        """What is allocated once for ever is allocated now."""
        for _ in range(5):
            self.check_slots()
            with ExitStack() as peers:
                for _ in range(ASSOCIATIONS_PER_PEER):
                    uid = new_uid()
                    peer = peers.enter_context(self.associated())
                    peer.send(*store_pdus(uid, data_set(uid, CONSENTING, pixels=bytes(200_000))))
            self.check_slots()
            with self.associated() as peer:
                peer.store(new_uid(), b"\0" * 300_000)

    def check_slots(self) -> None:
        """Every slot of the insider is free, now or in a moment."""

        def all_free() -> bool:
            with ExitStack() as peers:
                for _ in range(ASSOCIATIONS_PER_PEER):
                    peer = peers.enter_context(self.peer())
                    peer.send(associate_rq(INSIDER))
                    answer = peer.read_pdu()
                    if answer is None or answer[0] != AC:
                        return False
                    peer.send(_ABORT_PDU)
            return True

        wait_until(all_free, timeout_s=4.0)

    def check_aftermath(self) -> None:
        """Others were not disturbed, slots are free, and nothing failed inside."""
        self.check_aftermath_of_others()
        self.check_slots()
        self.check_log()

    def check_aftermath_of_others(self) -> None:
        """A good peer gets in at once, and the good sender has gone on as ever."""
        with self.peer(GOOD_ADDRESS) as peer:
            peer.sock.settimeout(2.0)
            peer.associate(GOOD)
            assert peer.echo() == 0
            peer.release()
        count = self.good.count
        wait_until(lambda: self.good.failure or self.good.count > count, timeout_s=2.0)
        longest_s, self.good.longest_s = self.good.longest_s, 0.0
        assert self.good.failure is None, repr(self.good.failure)
        assert self.good.statuses == {0}
        assert longest_s < GAP_S

    def check_log(self) -> None:
        """Nothing new in the log is an error; every line is one JSON object without control characters."""
        log = self.site.log
        lines = log[: log.rfind("\n") + 1].splitlines()  # one may be being written
        new, self._log_read = lines[self._log_read :], len(lines)
        for line in new:
            assert line.isprintable(), line
            entry = json.loads(line)
            known = entry["logger"] == "concurrent.futures"  # seen once at the start of a busy machine, cause not found
            assert known or entry["level"] in ("info", "warning"), line
            assert "Traceback" not in line


_ABORT_PDU = b"\x07\0\0\0\0\4\0\0\0\0"


def ends(peer: RawPeer) -> list[int]:
    """The types of the PDUs the gateway still sends until it closes the connection, which it must."""
    return [kind for kind, _ in peer.read_to_end()]


def is_declared(kinds: list[int]) -> bool:
    """Whether an end without an association in between is one the standard knows: nothing, a rejection, an abort."""
    return kinds in ([], [RJ], [ABORT], [AC, ABORT], [AC])


__all__ = ["DESTINATION", "GOOD", "INSIDER", "LIMITS", "MEMORY_BYTES", "GoodSender", "Victim", "ends", "is_declared"]
