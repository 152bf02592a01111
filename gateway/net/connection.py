"""One socket driving one `wire.Association`, in both roles.

Blocking, owned by one thread, with absolute deadlines. Time limits are set on the socket itself (SO_RCVTIMEO,
SO_SNDTIMEO): the kernel then waits for us without an extra system call per read.

Two lines here are worth more than all the rest (docs/architecture.md, "Why it is fast"): TCP_NODELAY with one
gather write per message, so that our own last segment never waits for an acknowledgement; and TCP_QUICKACK,
re-armed after each read because the kernel disarms it, so that a peer that leaves Nagle's algorithm on never waits
for ours.
"""

import contextlib
import math
import os
import select
import socket
import struct
import threading
from collections.abc import Sequence

from gateway.errors import (
    AssociationAborted,
    ConnectionLost,
    DeadlineExceeded,
    RemoteProtocolError,
)
from gateway.net.deadline import Deadline
from gateway.wire.association import Association
from gateway.wire.events import Aborted, Event, TransportClosed

USER_TIMEOUT_MS = 30_000
"""TCP_USER_TIMEOUT: a vanished peer is noticed within this time, not after the kernel's quarter of an hour."""

KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 15, 5, 3

UNSENT_LIMIT_BYTES = 128 * 1024
"""TCP_NOTSENT_LOWAT: what the kernel may hold unsent. Small, so that a withdrawal stops nearly everything."""

READ_S = 0.01
"""How long a read waits by itself. What takes longer waits in `poll`, which `wake` can end. So long, too, is waited in
vain for a data set to be as long as the one before it."""

PARTING_S = 0.5
"""How long a peer has to read our last word and close: a round trip, and a busy machine at the other end."""

GATHERED_COUNT = 1024
"""Buffers in one gather write at most (IOV_MAX)."""

SCRATCH_BYTES = 16 * 1024
"""Buffer for input that nobody wants any more."""

_TIMEVAL = struct.Struct("ll")
_LINGER_RESET = struct.pack("ii", 1, 0)
_SHORTEST_WAIT_S = 0.001
"""Zero would mean for ever to the kernel."""


class Connection:
    """An association on a transport connection.

    All methods belong to the owning thread, except `reset` and `wake`.
    """

    def __init__(self, sock: socket.socket, association: Association, peer: str) -> None:
        """Take over a connected socket. `peer` names it in errors (an AE title or an address).

        Raises:
            ConnectionLost: the connection is gone already; the socket is closed.
        """
        self.association = association
        self.peer = peer
        self.received_bytes = 0
        self._sock = sock
        self._receive_timeout_s = -1.0
        self._send_timeout_s = -1.0
        self._close_lock = threading.Lock()
        self._closed = False
        self._woken = False
        self._alarm_fd = -1  # made by the first long wait: most associations never have one
        try:
            tune(sock)
        except ConnectionLost:
            sock.close()
            raise

    def next_event(self, deadline: Deadline) -> Event:
        """The next event, read from the socket if need be. Fragments are valid until the next call.

        Raises:
            DeadlineExceeded: the deadline passed.
            ConnectionLost: the peer closed or reset the connection.
            AssociationAborted: the peer sent A-ABORT.
            RemoteProtocolError: the peer broke the protocol; `refuse` tells it so.
        """
        if self.association.likely_bytes:
            self._receive_soon(deadline)
        while (event := self.association.next_event()) is None:
            self._receive(deadline)
        match event:
            case Aborted(source, reason):
                raise AssociationAborted(f"{self.peer} aborted the association", int(source), reason)
            case TransportClosed():
                raise ConnectionLost(f"{self.peer} closed the connection")
            case _:
                return event

    def send(self, buffers: Sequence[bytes | memoryview], deadline: Deadline) -> None:
        """Write all buffers with as few system calls as the socket's buffer allows: one, usually.

        Raises:
            DeadlineExceeded: the peer did not take them in time.
            ConnectionLost: the connection broke.
        """
        unsent_bytes = sum(map(len, buffers))
        while unsent_bytes:
            self._limit_send(deadline)
            try:
                sent = self._sock.sendmsg(buffers if len(buffers) <= GATHERED_COUNT else buffers[:GATHERED_COUNT])
            except BlockingIOError as error:
                raise DeadlineExceeded(f"{self.peer} does not take data") from error
            except OSError as error:
                raise ConnectionLost(f"the connection to {self.peer} broke while sending: {error.strerror}") from error
            unsent_bytes -= sent
            if unsent_bytes:
                buffers = _without(buffers, sent)

    def refuse(self, error: RemoteProtocolError, deadline: Deadline) -> None:
        """Answer a broken rule with A-ABORT, then part."""
        self._leave_with(self.association.protocol_abort(error), deadline)

    def abort(self, deadline: Deadline) -> None:
        """A-ABORT as service user, then part."""
        self._leave_with(self.association.abort(), deadline)

    def part(self) -> None:
        """Give the peer a moment to close first (PS3.8 §9.2, state 13), then close.

        It has been told that it is over. Closing at once can hide that from it: some take a closed connection for
        the news and do not look at what came before, and where its input is unread or still coming, a close is a
        reset. So whatever comes is read and dropped.
        """
        deadline = Deadline.after(PARTING_S)
        scratch = bytearray(SCRATCH_BYTES)
        with contextlib.suppress(ConnectionLost, DeadlineExceeded):
            while self._read(scratch, deadline):
                pass
        self.close()

    def close(self) -> None:
        """Close the transport; harmless a second time."""
        with self._close_lock:
            if not self._closed:
                self._closed = True
                self._sock.close()
                if self._alarm_fd >= 0:
                    os.close(self._alarm_fd)
                    self._alarm_fd = -1

    def reset(self) -> None:
        """From any thread: drop the connection at once, discarding what the kernel has not sent yet."""
        with self._close_lock:
            if not self._closed:
                with contextlib.suppress(OSError):
                    self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
                    self._sock.shutdown(socket.SHUT_RDWR)

    def wake(self) -> None:
        """From any thread: wherever the owner waits for an event, it gets DeadlineExceeded, within `READ_S`.

        It can still send.
        """
        with self._close_lock:
            self._woken = True
            if self._alarm_fd >= 0:
                os.eventfd_write(self._alarm_fd, 1)

    def _leave_with(self, last_word: bytes, deadline: Deadline) -> None:
        if last_word:
            with contextlib.suppress(ConnectionLost, DeadlineExceeded):
                self.send([last_word], deadline)
                self.part()
        self.close()

    def _receive(self, deadline: Deadline) -> None:
        while not self._receive_soon(deadline):
            self._wait_for_input(deadline)

    def _receive_soon(self, deadline: Deadline) -> bool:
        """Whether anything, be it the end of the connection, came within `READ_S`."""
        if self._woken:
            raise DeadlineExceeded(f"the wait for {self.peer} was ended")
        likely_bytes = self.association.likely_bytes
        count = self._read_soon(self.association.receive_buffer(), deadline, likely_bytes)
        if count is None:
            return False
        self.received_bytes += count
        self.association.received(count)
        return True

    def _wait_for_input(self, deadline: Deadline) -> None:
        """Return when something came, the connection ended, the deadline passed, or somebody called `wake`."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._alarm(), select.POLLIN)
        poll.poll(max(0.0, deadline.remaining_s) * 1000)

    def _alarm(self) -> int:
        with self._close_lock:
            if self._alarm_fd < 0:
                try:
                    self._alarm_fd = os.eventfd(int(self._woken), os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                except OSError as error:
                    raise ConnectionLost(f"{self.peer} cannot be waited for: {error.strerror}") from error
            return self._alarm_fd

    def _read(self, buffer: bytearray, deadline: Deadline) -> int:
        """Bytes read into the buffer; 0 at the end of the connection."""
        while (count := self._read_soon(buffer, deadline)) is None:
            pass
        return count

    def _read_soon(self, buffer: bytearray | memoryview, deadline: Deadline, likely_bytes: int = 0) -> int | None:
        """Bytes read into the buffer, 0 at the end of the connection; None when nothing came within `READ_S`.

        With `likely_bytes` it returns when that much has come, or the buffer is full, or at the end of `READ_S`.
        """
        self._limit_receive(deadline)
        try:
            if likely_bytes > 0:
                count = self._sock.recv_into(buffer, min(likely_bytes, len(buffer)), socket.MSG_WAITALL)
            else:
                count = self._sock.recv_into(buffer)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            return count
        except BlockingIOError:
            return None
        except OSError as error:
            raise ConnectionLost(f"the connection to {self.peer} broke: {error.strerror}") from error

    def _limit_receive(self, deadline: Deadline) -> None:
        timeout_s = self._waiting_time(deadline, self._receive_timeout_s, "sent nothing in the time it had", READ_S)
        if timeout_s != self._receive_timeout_s:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(timeout_s))
            self._receive_timeout_s = timeout_s

    def _limit_send(self, deadline: Deadline) -> None:
        timeout_s = self._waiting_time(deadline, self._send_timeout_s, "does not take data")
        if timeout_s != self._send_timeout_s:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout_s))
            self._send_timeout_s = timeout_s

    def _waiting_time(self, deadline: Deadline, current_s: float, complaint: str, most_s: float = math.inf) -> float:
        """Seconds to wait. The limit already set is kept while it is within a quarter of what is left."""
        remaining_s = deadline.remaining_s
        if remaining_s <= 0:
            raise DeadlineExceeded(f"{self.peer} {complaint}")
        wanted_s = min(remaining_s, most_s)
        if 0.75 * wanted_s <= current_s <= wanted_s:
            return current_s
        return max(wanted_s, _SHORTEST_WAIT_S)


def tune(sock: socket.socket) -> None:
    """Options for a DICOM connection, in either direction.

    Raises:
        ConnectionLost: the connection is gone already.
    """
    try:
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
    except OSError as error:
        raise ConnectionLost(f"the connection is gone: {error.strerror}") from error


def _without(buffers: Sequence[bytes | memoryview], sent: int) -> list[bytes | memoryview]:
    """What is left of the buffers after the first `sent` bytes."""
    for index, buffer in enumerate(buffers):
        if sent < len(buffer):
            return [memoryview(buffer)[sent:], *buffers[index + 1 :]]
        sent -= len(buffer)
    return []


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return _TIMEVAL.pack(whole, int((seconds - whole) * 1_000_000))
