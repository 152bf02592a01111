"""A witness on the wire: relays a TCP connection unchanged and remembers the data sets that crossed it.

The demo puts one on either side of the gateway, to show with other eyes than the gateway's own that what left is what
came in. So nothing of `gateway.wire` is used here: PDUs are taken apart with pynetdicom, command sets with pydicom.
"""

import hashlib
import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pynetdicom.pdu import P_DATA_TF

from gateway.ops.middleman import Middleman

PDU_TYPES = range(0x01, 0x08)
P_DATA_TF_TYPE = 0x04
C_STORE_RQ = 0x0001
RELAY_BYTES = 256 * 1024
_HEADER = struct.Struct(">BxI")
_LAST, _COMMAND = 0x02, 0x01
_COMMAND_FIELD = Tag(0x0000, 0x0100)
_SOP_INSTANCE_UID = Tag(0x0000, 0x1000)


class Witness(Middleman):
    """Listens on a port of its own and passes everything on to another one, both ways.

    `digests` maps each SOP Instance UID to the SHA-256 of every data set that went from the caller to the called.
    """

    def __init__(self, target_port: int) -> None:
        super().__init__(target_port)
        self.digests: dict[str, set[str]] = defaultdict(set)
        self._lock = threading.Lock()

    def between(self, caller: socket.socket, called: socket.socket, began_s: float) -> None:
        """Both ways, unchanged."""
        answers = threading.Thread(target=_relay, args=(called, caller, None), name="witness", daemon=True)
        answers.start()
        _relay(caller, called, _Stream(self._remember))
        answers.join()

    def _remember(self, sop_instance_uid: str, digest: str) -> None:
        with self._lock:
            self.digests[sop_instance_uid].add(digest)


class _Stream:
    """One direction of one association: bytes in, a digest for each C-STORE data set out."""

    def __init__(self, remember: Callable[[str, str], None]) -> None:
        self._remember = remember
        self._pending = bytearray()
        self._command = BytesIO()
        self._sop_instance_uid: str | None = None
        self._digest = hashlib.sha256()
        self._is_dicom = True

    def feed(self, data: memoryview) -> None:
        """Take the next bytes. What is no DICOM upper layer is passed on like all the rest, but not looked at."""
        if self._is_dicom:
            self._pending += data
        while len(self._pending) >= _HEADER.size:
            pdu_type, length = _HEADER.unpack_from(self._pending)
            end = _HEADER.size + length
            if pdu_type not in PDU_TYPES:
                self._is_dicom = False
                self._pending.clear()
                return
            if len(self._pending) < end:
                return
            if pdu_type == P_DATA_TF_TYPE:
                pdu = P_DATA_TF()
                pdu.decode(bytes(self._pending[:end]))
                for item in pdu.presentation_data_value_items:
                    value = item.presentation_data_value or b"\0"
                    self._fragment(value[0], value[1:])
            del self._pending[:end]

    def _fragment(self, control: int, data: bytes) -> None:
        if control & _COMMAND:
            self._command.write(data)
            if control & _LAST:
                self._take_command()
            return
        self._digest.update(data)
        if control & _LAST and self._sop_instance_uid:
            self._remember(self._sop_instance_uid, self._digest.hexdigest())
            self._sop_instance_uid = None

    def _take_command(self) -> None:
        self._command.seek(0)
        command = read_dataset(self._command, is_implicit_VR=True, is_little_endian=True)
        self._command = BytesIO()
        self._digest = hashlib.sha256()
        if command[_COMMAND_FIELD].value == C_STORE_RQ:
            self._sop_instance_uid = str(command[_SOP_INSTANCE_UID].value)


def _relay(source: socket.socket, target: socket.socket, stream: _Stream | None) -> None:
    """Pass on what comes until it ends, then the end; a connection that breaks is broken on the other side too."""
    buffer = memoryview(bytearray(RELAY_BYTES))
    try:
        while count := source.recv_into(buffer):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            target.sendall(buffer[:count])
            if stream:
                stream.feed(buffer[:count])
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for sock in (source, target):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
