"""Receiving messages: fragments become commands and pieces of data sets (PS3.7 §6.3.1, PS3.8 Annex E).

PDUs are not collected. Headers are read as they arrive, and the payload of a data set is handed out as views
of the receive buffer in whatever pieces the transport delivered.

Rules: a message is the fragments of one command set, then, if that announces one, the fragments of one data
set, all of the same accepted presentation context; nothing else comes in between.
"""

from collections.abc import Container

from gateway.errors import LimitExceeded, RemoteProtocolError
from gateway.wire.codes import AbortReason, PDUType
from gateway.wire.command import Command, decode
from gateway.wire.events import CommandReceived, DataReceived
from gateway.wire.items import (
    COMMAND_BIT,
    FRAGMENT_HEADER,
    LAST_BIT,
    PDU_HEADER,
    PDU_HEADER_BYTES,
    PDV_CONTROL_BYTES,
    PDV_HEADER,
    PDV_LENGTH_BYTES,
    invalid,
)

FRAGMENTS_PER_EVENT_LIMIT = 512
"""Views in one `DataReceived`: few enough for one gather write (IOV_MAX is 1024)."""

LENGTH_VARIATION_BYTES = 4 * 1024
"""By how much the data sets of a series differ in length without compression: texts and private elements."""

_BITS_BUT_LAST = 0xFF ^ LAST_BIT
_NO_CONTEXT = 0  # context ids are odd


class MessageReceiver:
    """Reads the P-DATA-TF PDUs of one association.

    Attributes:
        position: where in the buffer the last `next_event` stopped; bytes before it are not needed again.
        is_inside_pdu: whether the bytes at `position` continue a P-DATA-TF.
        likely_bytes: how much more of the data set under way is likely to come, if it is not shorter than all before
            it on this association, as in a series; 0 when nobody knows. A guess.
    """

    def __init__(
        self, context_ids: Container[int], maximum_length: int, command_bytes: int, empty_pdv_count: int
    ) -> None:
        """Takes messages on `context_ids`, in PDUs of `maximum_length` after the header at most."""
        self.position = 0
        self.is_inside_pdu = False
        self.likely_bytes = 0
        self._data_set_bytes = 0
        self._shortest_data_set_bytes = 0
        self._context_ids = context_ids
        self._maximum_length = maximum_length
        self._command_limit_bytes = command_bytes
        self._empty_pdv_limit = empty_pdv_count
        self._pdu_remaining = 0  # bytes of the PDU after the current PDV
        self._is_pdv_open = False
        self._pdv_remaining = 0  # payload bytes of the current PDV still to come
        self._is_command = False
        self._is_last = False
        self._message_context = _NO_CONTEXT
        self._is_data_due = False
        self._command_set = bytearray()
        self._empty_pdv_count = 0

    def next_event(self, buffer: memoryview, start: int, end: int) -> CommandReceived | DataReceived | None:
        """The next event from `buffer[start:end]`; None when bytes are missing or another type of PDU begins.

        Raises:
            RemoteProtocolError: a length or the order of fragments breaks a rule.
            LimitExceeded: a PDU, a command set or the number of empty fragments is beyond its limit.
        """
        self.position = start
        while True:
            if self._is_pdv_open:
                event = self._take_command(buffer, end) if self._is_command else self._take_data(buffer, end)
                if event is not None or self._is_pdv_open:
                    return event
            elif not self._open_pdv(buffer, end):
                return None

    def _open_pdv(self, buffer: memoryview, end: int) -> bool:
        """Reads the next PDV header, and the PDU header before it; False if they are not there yet."""
        if not self.is_inside_pdu:
            if end - self.position < PDU_HEADER_BYTES:
                return False
            pdu_type, length = PDU_HEADER.unpack_from(buffer, self.position)
            if pdu_type != PDUType.P_DATA_TF:
                return False
            if length > self._maximum_length:
                raise LimitExceeded(
                    f"a P-DATA-TF of {length} bytes, {self._maximum_length} were agreed", AbortReason.INVALID
                )
            if length < PDV_HEADER.size:
                raise invalid("a P-DATA-TF too short for a PDV")
            self.position += PDU_HEADER_BYTES
            self.is_inside_pdu = True
            self._pdu_remaining = length
        if end - self.position < PDV_HEADER.size:
            return False
        length, context_id, control = PDV_HEADER.unpack_from(buffer, self.position)
        rest = self._pdu_remaining - PDV_LENGTH_BYTES - length
        if length < PDV_CONTROL_BYTES or rest < 0 or 0 < rest < PDV_HEADER.size:
            raise invalid("a PDV length that does not fit its PDU")
        self._check_order(context_id, bool(control & COMMAND_BIT), length - PDV_CONTROL_BYTES)
        self.position += PDV_HEADER.size
        self._pdu_remaining = rest
        self._is_pdv_open = True
        self._pdv_remaining = length - PDV_CONTROL_BYTES
        self._is_command = bool(control & COMMAND_BIT)
        self._is_last = bool(control & LAST_BIT)
        self._message_context = context_id
        return True

    def _check_order(self, context_id: int, is_command: bool, payload_bytes: int) -> None:
        if context_id not in self._context_ids:
            raise RemoteProtocolError(
                f"a fragment on presentation context {context_id}, which was not accepted",
                AbortReason.INVALID,
            )
        if self._message_context not in (_NO_CONTEXT, context_id):
            raise _unexpected(f"a fragment on context {context_id} inside a message on {self._message_context}")
        if is_command and self._is_data_due:
            raise _unexpected("a command fragment where the data set is due")
        if not is_command and not self._is_data_due:
            raise _unexpected("a data set fragment without a command that announces it")
        if is_command and len(self._command_set) + payload_bytes > self._command_limit_bytes:
            raise LimitExceeded(f"a command set longer than {self._command_limit_bytes} bytes", AbortReason.INVALID)
        if payload_bytes == 0:
            self._empty_pdv_count += 1
            if self._empty_pdv_count > self._empty_pdv_limit:
                raise LimitExceeded(
                    f"more than {self._empty_pdv_limit} empty fragments in a message", AbortReason.INVALID
                )

    def _close_pdv(self) -> None:
        self._is_pdv_open = False
        self.is_inside_pdu = self._pdu_remaining > 0

    def _take_command(self, buffer: memoryview, end: int) -> CommandReceived | None:
        count = min(self._pdv_remaining, end - self.position)
        self._command_set += buffer[self.position : self.position + count]
        self.position += count
        self._pdv_remaining -= count
        if self._pdv_remaining:
            return None
        self._close_pdv()
        if not self._is_last:
            return None
        command: Command = decode(self._command_set)
        context_id = self._message_context
        self._command_set.clear()
        if command.has_data_set:
            self._is_data_due = True
            self._data_set_bytes = 0
            self.likely_bytes = max(0, self._shortest_data_set_bytes - LENGTH_VARIATION_BYTES)
        else:
            self._end_message()
        return CommandReceived(context_id, command)

    def _take_data(self, buffer: memoryview, end: int) -> DataReceived | None:
        """All data fragments that follow plainly in the buffer: one PDV a PDU, same context, not empty.

        This is the hot loop of receiving. Whatever is not plain is left to `_open_pdv`, which also finds what
        is wrong.
        """
        fragments: list[memoryview] = []
        position, remaining, is_last = self.position, self._pdv_remaining, self._is_last
        context_id = self._message_context
        longest = self._maximum_length
        unpack, headers_bytes, p_data_tf = FRAGMENT_HEADER.unpack_from, FRAGMENT_HEADER.size, int(PDUType.P_DATA_TF)
        is_open = True
        while True:
            available = end - position
            if remaining > available:
                if available:
                    fragments.append(buffer[position:end])
                    position = end
                    remaining -= available
                break
            if remaining:
                fragments.append(buffer[position : position + remaining])
                position += remaining
            is_open = False
            if is_last or self._pdu_remaining or available - remaining < headers_bytes:
                break
            pdu_type, pdu_length, pdv_length, pdv_context, control = unpack(buffer, position)
            if (
                pdu_type != p_data_tf
                or pdu_length > longest
                or pdv_length + PDV_LENGTH_BYTES != pdu_length
                or pdv_length <= PDV_CONTROL_BYTES
                or pdv_context != context_id
                or control & _BITS_BUT_LAST
                or len(fragments) >= FRAGMENTS_PER_EVENT_LIMIT
            ):
                break
            position += headers_bytes
            remaining = pdv_length - PDV_CONTROL_BYTES
            is_last = bool(control)
            is_open = True
        taken_bytes = sum(map(len, fragments))
        self._data_set_bytes += taken_bytes
        self.likely_bytes = max(0, self.likely_bytes - taken_bytes)
        self.position, self._is_last = position, is_last
        self._pdv_remaining = remaining
        if not is_open:
            self._close_pdv()
        else:
            self.is_inside_pdu = True
        is_end = is_last and not is_open
        if is_end:
            self._end_message()
        return DataReceived(context_id, tuple(fragments), is_end) if fragments or is_end else None

    def _end_message(self) -> None:
        if self._is_data_due:
            shortest, latest = self._shortest_data_set_bytes, self._data_set_bytes
            self._shortest_data_set_bytes = min(shortest, latest) if shortest else latest
        self._message_context = _NO_CONTEXT
        self._is_data_due = False
        self.likely_bytes = 0
        self._empty_pdv_count = 0


def _unexpected(message: str) -> RemoteProtocolError:
    return RemoteProtocolError(message, AbortReason.UNEXPECTED_PARAMETER)
