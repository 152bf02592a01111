"""A wide area link on one machine, without privileges: a TCP proxy that delivers bytes when a `Link` says so.

Each side talks to the proxy over loopback, so what the two ends' own TCP would do over a distance (slow start, Nagle's
algorithm waiting for a far acknowledgement) is not seen.

Runs as a process of its own, so that its threads take the interpreter from nobody who is measured:
`python -m gateway.ops.bench.netem FOLDER PORT LINK` with the fields of a `Link` as JSON. It listens on a free port of
this machine, writes its number to FOLDER/port, and passes everything on to PORT.
"""

import json
import math
import queue
import signal
import socket
import sys
import threading
from contextlib import suppress
from itertools import count
from pathlib import Path
from time import monotonic, sleep

from gateway.ops.bench.link import Capacity, Lane, Link
from gateway.ops.bench.ready import announce
from gateway.ops.middleman import Middleman


class LinkProxy(Middleman):
    """Listens on a loopback port and passes everything on to another one, both ways, as the link has it."""

    def __init__(self, target_port: int, link: Link) -> None:
        super().__init__(target_port)
        self._link = link
        self._lock = threading.Lock()
        self._there, self._back = Capacity(link.bytes_per_s), Capacity(link.bytes_per_s)
        self._seeds = count(link.seed)

    def between(self, caller: socket.socket, called: socket.socket, began_s: float) -> None:
        """Both ways, as the link has it."""
        ways = [
            self._flow(caller, called, self._there, began_s + self._link.round_trip_s),
            self._flow(called, caller, self._back, began_s + self._link.one_way_s),
        ]
        threads = [
            threading.Thread(target=half, name="link", daemon=True) for way in ways for half in (way.take, way.give)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _flow(self, source: socket.socket, target: socket.socket, capacity: Capacity, open_at_s: float) -> "_Flow":
        with self._lock:
            lane = Lane(self._link, capacity, open_at_s, next(self._seeds))
        return _Flow(source, target, lane, self._link.chunk_bytes, self._lock)


class _Flow:
    """One direction of one connection: a thread that takes bytes and one that gives them when they are due.

    `lock` guards the lane and the capacity it shares with others. At most a window of bytes is held.
    """

    def __init__(
        self,
        source: socket.socket,
        target: socket.socket,
        lane: Lane,
        chunk_bytes: int,
        lock: threading.Lock,
    ) -> None:
        self._source = source
        self._target = target
        self._lane = lane
        self._chunk_bytes = chunk_bytes
        self._lock = lock
        self._delivered = threading.Event()
        self._is_broken = False
        self._under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def take(self) -> None:
        """Read what comes, as fast as the lane takes it, to its end."""
        with suppress(OSError):
            while (room := self._room_bytes()) and (data := self._source.recv(min(self._chunk_bytes, room))):
                self._source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                self._send(data)
        self._send(b"")

    def give(self) -> None:
        """Deliver each piece when it is due, then the end; a connection that breaks is broken on the other side too."""
        try:
            while True:
                due_s, data = self._under_way.get()
                if (wait_s := due_s - monotonic()) > 0:
                    sleep(wait_s)
                if not data:
                    self._target.shutdown(socket.SHUT_WR)
                    return
                self._target.sendall(data)
                with self._lock:
                    self._lane.delivered(len(data), monotonic())
                self._delivered.set()
        except OSError:
            for sock in (self._source, self._target):
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            self._is_broken = True
            self._delivered.set()

    def _send(self, data: bytes) -> None:
        with self._lock:
            due_s = self._lane.due_s(len(data), monotonic())
        self._under_way.put((due_s, data))

    def _room_bytes(self) -> int:
        """Wait until the lane takes bytes; returns how many. Zero when nobody is there to take them any more."""
        while not self._is_broken:
            self._delivered.clear()
            with self._lock:
                now_s = monotonic()
                ready_at_s, room_bytes = self._lane.ready_at_s(now_s), self._lane.room_bytes(now_s)
            if ready_at_s <= now_s:
                return room_bytes
            self._delivered.wait(None if ready_at_s == math.inf else ready_at_s - now_s)
        return 0


def main(folder: Path, target_port: int, link: Link) -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with LinkProxy(target_port, link) as proxy:
        announce(folder, proxy.port)
        while True:
            signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Link(**json.loads(sys.argv[3])))
