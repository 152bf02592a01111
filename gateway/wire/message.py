"""Sending messages: command sets and data sets as P-DATA-TF PDUs (PS3.7 §6.3.1, PS3.8 §9.3.5 and Annex E).

The receiving half is `reassembly`. `FragmentFrame` is where a data set is read into on its way out, so that
the bytes of a file become a run of PDUs without being copied again.
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

FRAME_CAPACITY_BYTES = 256 * 1024
"""Bytes of a frame: one gather read fills it and one send empties it; larger leaves the processor's cache."""

SLOT_LIMIT = 1024
"""Slots of a frame: what one preadv takes (IOV_MAX)."""


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
    """A reusable outgoing buffer that holds a run of P-DATA-TF PDUs with their headers in place.

    Each PDU has one data fragment, all but the last of a data set equally long, and as long as the peer
    allows; or a little shorter, so that a whole number of them fills the frame. Use, once for each piece of
    the data set: fill `slots` in order (`os.preadv(file, frame.slots, offset)`), then send what `framed`
    returns.

    Attributes:
        payload_bytes: bytes of data set that fit in all slots together; always even.
        slots: writable views of the payload places, in order. They live as long as the frame.
    """

    def __init__(self, context_id: int, peer_maximum_length: int, capacity_bytes: int = FRAME_CAPACITY_BYTES) -> None:
        """Lays out a frame of at most `capacity_bytes` for one context.

        Raises:
            LocalProtocolError: no fragment fits in what the peer takes, or in the capacity.
        """
        header_bytes = FRAGMENT_HEADER.size
        pdu_count, self._payload_bytes = _layout(fragment_payload_bytes(peer_maximum_length), capacity_bytes)
        self._stride_bytes = header_bytes + self._payload_bytes
        self._context_id = context_id
        self._frame = memoryview(bytearray(pdu_count * self._stride_bytes))
        self._full_header = _fragment_header(self._payload_bytes, context_id, 0)
        self._changed_header: int | None = None  # start of the header that marks the end of what was framed last
        starts = range(0, len(self._frame), self._stride_bytes)
        for start in starts:
            self._frame[start : start + header_bytes] = self._full_header
        self.payload_bytes = pdu_count * self._payload_bytes
        self.slots: tuple[memoryview, ...] = tuple(
            self._frame[start + header_bytes : start + self._stride_bytes] for start in starts
        )

    def framed(self, count: int, last: bool) -> memoryview:
        """The bytes to send when the first `count` payload bytes are filled; `last` ends the data set.

        The view is valid until the slots are written or `framed` is called again. With `count` 0 it is empty,
        or, when `last`, one empty fragment that ends the data set.

        Raises:
            LocalProtocolError: more than `payload_bytes`, or an odd count: data sets have an even length
            (PS3.5 §7.1).
        """
        if not 0 <= count <= self.payload_bytes or count % 2:
            raise LocalProtocolError(
                f"{count} bytes cannot be framed: at most {self.payload_bytes}, and an even number"
            )
        self._restore_header()
        full_count, rest = divmod(count, self._payload_bytes)
        if rest or (last and count == 0):
            start, length = full_count * self._stride_bytes, rest
        elif last:
            start, length = (full_count - 1) * self._stride_bytes, self._payload_bytes
        else:
            return self._frame[: full_count * self._stride_bytes]
        header = _fragment_header(length, self._context_id, LAST_BIT if last else 0)
        self._frame[start : start + len(header)] = header
        self._changed_header = start
        return self._frame[: start + len(header) + length]

    def _restore_header(self) -> None:
        if self._changed_header is not None:
            start = self._changed_header
            self._frame[start : start + len(self._full_header)] = self._full_header
            self._changed_header = None


def _layout(largest_bytes: int, capacity_bytes: int) -> tuple[int, int]:
    """How many PDUs a frame has, and the payload of each: whichever of the two ways carries more.

    Either fragments as long as the peer allows, or one more PDU with slightly shorter ones: 256 KiB would
    hold just one PDU for a peer that takes 128 KiB, since the headers leave no room for the second.
    """
    header_bytes = FRAGMENT_HEADER.size
    full_count = min(capacity_bytes // (header_bytes + largest_bytes), SLOT_LIMIT)
    shorter_bytes = (capacity_bytes // (full_count + 1) - header_bytes) & ~1
    if full_count < SLOT_LIMIT and (full_count + 1) * shorter_bytes > full_count * largest_bytes:
        return full_count + 1, shorter_bytes
    if full_count == 0:
        raise LocalProtocolError(f"no fragment fits in a frame of {capacity_bytes} bytes")
    return full_count, largest_bytes


def _fragment_header(length: int, context_id: int, control: int) -> bytes:
    return FRAGMENT_HEADER.pack(
        PDUType.P_DATA_TF, length + PDV_OVERHEAD_BYTES, length + PDV_CONTROL_BYTES, context_id, control
    )
