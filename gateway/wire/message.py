"""Sending messages: command sets and data sets as P-DATA-TF PDUs (PS3.7 §6.3.1, PS3.8 §9.3.5 and Annex E).

The receiving half is `reassembly`. `FragmentFrame` is where a data set is read into on its way out: the bytes
of a file, in one piece, become a run of PDUs without being copied again.
"""

from gateway.errors import LocalProtocolError
from gateway.wire.codes import PDUType
from gateway.wire.items import COMMAND_BIT, FRAGMENT_HEADER, LAST_BIT, PDV_CONTROL_BYTES, PDV_HEADER

PDV_OVERHEAD_BYTES = PDV_HEADER.size
"""Length, context id and control header of a PDV: what a P-DATA-TF spends on its one fragment."""

UNLIMITED_MAXIMUM_LENGTH = 128 * 1024
"""Used towards a peer that states no maximum (0): larger PDUs gain nothing measurable."""

SMALLEST_MAXIMUM_LENGTH = PDV_OVERHEAD_BYTES + 2
"""A peer that takes less cannot be sent one even-length fragment."""

FRAGMENTS_PER_FRAME_LIMIT = 2048
"""So many headers are kept ready; peers that take so little that it matters are rare."""


def fragment_payload_bytes(peer_maximum_length: int) -> int:
    """The longest even fragment the peer takes in a PDU of its own; 0 is a peer without a limit.

    Raises:
        LocalProtocolError: less than `SMALLEST_MAXIMUM_LENGTH`, which negotiation does not let pass.
    """
    maximum_length = peer_maximum_length or UNLIMITED_MAXIMUM_LENGTH
    if maximum_length < SMALLEST_MAXIMUM_LENGTH:
        raise LocalProtocolError(f"nothing can be sent to a peer that takes {maximum_length} bytes a PDU")
    return (maximum_length - PDV_OVERHEAD_BYTES) & ~1


def fragment_command(context_id: int, command_set: bytes, peer_maximum_length: int) -> bytes:
    """The P-DATA-TF PDUs of a command set, one fragment each, the last one marked."""
    payload_bytes = fragment_payload_bytes(peer_maximum_length)
    pdus = []
    for start in range(0, len(command_set), payload_bytes):
        fragment = command_set[start : start + payload_bytes]
        control = COMMAND_BIT | (LAST_BIT if start + payload_bytes >= len(command_set) else 0)
        pdus += [_fragment_header(len(fragment), context_id, control), fragment]
    return b"".join(pdus)


class FragmentFrame:
    """A reusable outgoing buffer: payload in one piece, sent as a run of P-DATA-TF PDUs with one fragment each.

    Use, once for each piece of a data set: fill `payload` from its start, then send what `framed` returns.

    Attributes:
        payload: where a piece of the data set is read into: the buffer given, or the beginning of it.
    """

    def __init__(self, context_id: int, peer_maximum_length: int, buffer: memoryview, unit_bytes: int = 2) -> None:
        """Lays out a frame for one context over a buffer that belongs to it from now on.

        `payload` is cut to a multiple of `unit_bytes`, an even number.

        Raises:
            LocalProtocolError: no fragment fits in what the peer takes, or no unit in the buffer.
        """
        self._context_id = context_id
        self._fragment_bytes = fragment_payload_bytes(peer_maximum_length)
        most_bytes = max(FRAGMENTS_PER_FRAME_LIMIT * self._fragment_bytes, unit_bytes)
        capacity_bytes = min(len(buffer), most_bytes) // unit_bytes * unit_bytes
        if not capacity_bytes:
            raise LocalProtocolError(f"a frame of {len(buffer)} bytes has no room for {unit_bytes}")
        self.payload = buffer[:capacity_bytes]
        header = _fragment_header(self._fragment_bytes, context_id, 0)
        self._buffers: list[bytes | memoryview] = []  # header and payload of all whole fragments
        for start in range(0, capacity_bytes - self._fragment_bytes + 1, self._fragment_bytes):
            self._buffers += [header, self.payload[start : start + self._fragment_bytes]]

    def framed(self, count: int, last: bool) -> list[bytes | memoryview]:
        """What to send, in order, when the first `count` bytes of `payload` are filled; `last` ends the data set.

        The views are valid until `payload` is written again. With `count` 0 there are none, or, when `last`, one
        empty fragment that ends the data set.

        Raises:
            LocalProtocolError: more than fits, or an odd count: data sets have an even length (PS3.5 §7.1).
        """
        if not 0 <= count <= len(self.payload) or count % 2:
            raise LocalProtocolError(f"{count} bytes cannot be framed: at most {len(self.payload)}, and an even number")
        whole_count, rest = divmod(count, self._fragment_bytes)
        if last and not rest and whole_count:
            whole_count, rest = whole_count - 1, self._fragment_bytes
        buffers = self._buffers[: 2 * whole_count]
        if rest or last:
            header = _fragment_header(rest, self._context_id, LAST_BIT if last else 0)
            buffers += [header, self.payload[count - rest : count]]
        return buffers


def _fragment_header(length: int, context_id: int, control: int) -> bytes:
    return FRAGMENT_HEADER.pack(
        PDUType.P_DATA_TF, length + PDV_OVERHEAD_BYTES, length + PDV_CONTROL_BYTES, context_id, control
    )
