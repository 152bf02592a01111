"""A peer made of bytes: PDUs, command sets and data sets put together by hand, so that anything can be sent.

Nothing here comes from the gateway's own protocol code. A `RawPeer` says what it is told to and reads what comes.
"""

import itertools
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"

RQ, AC, RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
"""Types of PDUs (PS3.8 §9.3.1)."""

C_STORE, C_FIND, C_MOVE, C_ECHO, C_CANCEL = 0x0001, 0x0020, 0x0021, 0x0030, 0x0FFF

ECHO_ID, CT_ID, MR_ID, DEFLATED_ID = 1, 3, 5, 7
CONTEXTS = {
    ECHO_ID: (VERIFICATION, [IMPLICIT]),
    CT_ID: (CT, [EXPLICIT]),
    MR_ID: (MR, [IMPLICIT]),
    DEFLATED_ID: (CT, [DEFLATED]),
}

PATIENCE_S = 10.0
"""How long a `RawPeer` waits for an answer."""

LONG_VRS = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")

_serial = itertools.count(1)


def new_uid(root: str = "1.2.826.0.1.3680043.10.1234") -> str:
    """A UID nobody else in this process uses."""
    return f"{root}.{next(_serial)}"


# --- PDUs -------------------------------------------------------------------------------------------------------------


def pdu(kind: int, body: bytes = b"", length: int | None = None) -> bytes:
    """A PDU; `length` lies about its size."""
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


def item(kind: int, content: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BxH", kind, len(content) if length is None else length) + content


def context(context_id: int, abstract: str, syntaxes: Iterable[str]) -> bytes:
    syntax_items = b"".join(item(0x40, syntax.encode()) for syntax in syntaxes)
    return item(0x20, struct.pack(">Bxxx", context_id) + item(0x30, abstract.encode()) + syntax_items)


def user_information(maximum_length: int = 16_384) -> bytes:
    content = item(0x51, struct.pack(">I", maximum_length)) + item(0x52, b"1.2.3.4") + item(0x55, b"RAW")
    return item(0x50, content)


def associate_rq(
    calling: bytes | str = "STORESCU",
    called: bytes | str = "GATEWAY",
    contexts: Mapping[int, tuple[str, list[str]]] = CONTEXTS,
    *,
    application_context: str = APPLICATION_CONTEXT,
    version: int = 1,
    information: bytes | None = None,
    extra: bytes = b"",
) -> bytes:
    """An A-ASSOCIATE-RQ; titles given as bytes are not padded."""
    titles = [t if isinstance(t, bytes) else t.encode("latin-1").ljust(16) for t in (called, calling)]
    return pdu(
        RQ,
        struct.pack(">Hxx16s16s32x", version, *titles)
        + item(0x10, application_context.encode())
        + b"".join(context(number, abstract, syntaxes) for number, (abstract, syntaxes) in contexts.items())
        + (user_information() if information is None else information)
        + extra,
    )


def pdv(context_id: int, data: bytes, *, command: bool = False, last: bool = True) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context_id, command | last << 1) + data


def p_data(*pdvs: bytes) -> bytes:
    return pdu(P_DATA, b"".join(pdvs))


# --- messages ---------------------------------------------------------------------------------------------------------


def _even(value: bytes, padding: bytes = b"\0") -> bytes:
    return value + padding if len(value) % 2 else value


def _raw(value: bytes | int | str) -> bytes:
    if isinstance(value, bytes):
        return value
    return struct.pack("<H", value) if isinstance(value, int) else _even(value.encode())


def command_set(elements: Mapping[int, bytes | int | str]) -> bytes:
    """A command set from element numbers of group 0000; numbers become US, texts UIDs."""
    body = b""
    for number, value in sorted(elements.items()):
        raw = _raw(value)
        body += struct.pack("<HHI", 0, number, len(raw)) + raw
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def echo_rq(message_id: int = 1) -> bytes:
    return command_set({0x0002: VERIFICATION, 0x0100: C_ECHO, 0x0110: message_id, 0x0800: 0x0101})


def store_rq(uid: str, sop_class: str = CT, message_id: int = 1) -> bytes:
    return command_set({0x0002: sop_class, 0x0100: C_STORE, 0x0110: message_id, 0x0700: 0, 0x0800: 0, 0x1000: uid})


def parse_command(content: bytes) -> dict[int, bytes]:
    """The raw values of a command set by element number."""
    values, position = {}, 0
    while position < len(content):
        _, number, length = struct.unpack_from("<HHI", content, position)
        values[number] = content[position + 8 : position + 8 + length]
        position += 8 + length
    return values


# --- data sets --------------------------------------------------------------------------------------------------------


def explicit(tag: int, vr: str, value: bytes | str, length: int | None = None) -> bytes:
    """An element in Explicit VR Little Endian; `length` lies about its value."""
    content = value if isinstance(value, bytes) else _even(value.encode(), b"\0" if vr == "UI" else b" ")
    size = len(content) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    return head + (struct.pack("<xxI", size) if vr in LONG_VRS else struct.pack("<H", size)) + content


def implicit(tag: int, value: bytes | str, length: int | None = None) -> bytes:
    content = value if isinstance(value, bytes) else _even(value.encode())
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(content) if length is None else length) + content


SOP_CLASS, SOP_INSTANCE, PATIENT_NAME, PATIENT_ID, STUDY, SERIES, PIXELS = (
    0x0008_0016,
    0x0008_0018,
    0x0010_0010,
    0x0010_0020,
    0x0020_000D,
    0x0020_000E,
    0x7FE0_0010,
)
_VRS = {
    0x0008_0005: "CS",
    SOP_CLASS: "UI",
    SOP_INSTANCE: "UI",
    0x0008_0050: "SH",
    0x0008_0060: "CS",
    PATIENT_NAME: "PN",
    PATIENT_ID: "LO",
    STUDY: "UI",
    SERIES: "UI",
    PIXELS: "OW",
}


def data_set(uid: str, patient_id: str | bytes, **changes: object) -> bytes:
    """A small CT image in Explicit VR Little Endian.

    Keyword arguments replace elements (`study="1.2"`), or leave them out (`study=None`); `pixels` is the bulk.
    """
    values: dict[int, object] = {
        SOP_CLASS: CT,
        SOP_INSTANCE: uid,
        0x0008_0050: "ACC1",
        0x0008_0060: "CT",
        PATIENT_NAME: "Canary^Yellow",
        PATIENT_ID: patient_id,
        STUDY: "1.2.826.0.1.3680043.10.99.1",
        SERIES: "1.2.826.0.1.3680043.10.99.1.1",
        PIXELS: b"\x01\x02" * 256,
    }
    names = {
        "charset": 0x0008_0005,
        "sop_class": SOP_CLASS,
        "sop_instance": SOP_INSTANCE,
        "accession": 0x0008_0050,
        "patient_id": PATIENT_ID,
        "study": STUDY,
        "series": SERIES,
        "pixels": PIXELS,
    }
    for name, value in changes.items():
        values[names[name]] = value
    present = sorted((tag, value) for tag, value in values.items() if value is not None)
    return b"".join(explicit(tag, _VRS[tag], value) for tag, value in present)  # type: ignore[arg-type]


# --- the peer ---------------------------------------------------------------------------------------------------------


class RawPeer:
    """A TCP connection to a DICOM port; a context manager that closes it."""

    def __init__(self, port: int, source: str = LOOPBACK, *, receive_buffer_bytes: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer_bytes is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.sock.settimeout(PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        try:
            self.sock.bind((source, 0))
            self.sock.connect((LOOPBACK, port))
        except OSError:
            self.sock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def send(self, *parts: bytes) -> None:
        self.sock.sendall(b"".join(parts))

    def send_while_taken(self, pieces: Iterable[bytes]) -> int:
        """Send pieces until they end or the other side will have no more; returns the bytes that went."""
        count = 0
        with suppress(OSError):
            for piece in pieces:
                self.sock.sendall(piece)
                count += len(piece)
        return count

    def read_pdu(self) -> tuple[int, bytes] | None:
        """The next PDU as (type, body); None when the other side has closed or reset the connection."""
        header = self._read(6)
        if header is None:
            return None
        kind, length = struct.unpack(">BxI", header)
        body = self._read(length)
        return None if body is None else (kind, body)

    def read_to_end(self) -> list[tuple[int, bytes]]:
        """All PDUs until the other side closes, or says that it is over: then it is ours to close."""
        pdus: list[tuple[int, bytes]] = []
        while not (pdus and pdus[-1][0] in (RJ, ABORT)) and (received := self.read_pdu()):
            pdus.append(received)
        return pdus

    def _read(self, count: int) -> bytes | None:
        while len(self._received) < count:
            try:
                piece = self.sock.recv(65_536)
            except (ConnectionError, BrokenPipeError):
                return None
            if not piece:
                return None
            self._received += piece
        taken, self._received = self._received[:count], self._received[count:]
        return taken

    def associate(self, *args: object, **options: object) -> dict[int, int]:
        """Open an association; returns the result of each presentation context."""
        self.send(associate_rq(*args, **options))  # type: ignore[arg-type]
        answer = self.read_pdu()
        assert answer is not None, "closed instead of an answer to A-ASSOCIATE-RQ"
        assert answer[0] == AC, f"PDU type {answer[0]} {answer[1].hex()} instead of A-ASSOCIATE-AC"
        return dict(_context_results(answer[1]))

    def response(self) -> dict[int, bytes]:
        """The next command set that is received, by element number."""
        content = b""
        while True:
            answer = self.read_pdu()
            assert answer is not None, "closed instead of a response"
            assert answer[0] == P_DATA, f"PDU type {answer[0]} {answer[1].hex()} instead of a response"
            length, _, control = struct.unpack_from(">IBB", answer[1])
            content += answer[1][6 : 4 + length]
            if control & 0x02:
                return parse_command(content)

    def status(self) -> int:
        """The status of the next response."""
        return int(struct.unpack("<H", self.response()[0x0900])[0])

    def echo(self) -> int:
        self.send(p_data(pdv(ECHO_ID, echo_rq(), command=True)))
        return self.status()

    def store(self, uid: str, data: bytes, *, context_id: int = CT_ID, sop_class: str = CT, piece: int = 16_000) -> int:
        """C-STORE; returns the status."""
        self.send(*store_pdus(uid, data, context_id=context_id, sop_class=sop_class, piece=piece))
        return self.status()

    def release(self) -> None:
        """End in order, and see that the other side does so too."""
        self.send(pdu(RELEASE_RQ, bytes(4)))
        assert self.read_pdu() == (RELEASE_RP, bytes(4))
        assert self.read_pdu() is None


def store_pdus(
    uid: str, data: bytes, *, context_id: int = CT_ID, sop_class: str = CT, piece: int = 16_000
) -> Iterator[bytes]:
    """A C-STORE-RQ with its data set, one PDV to a PDU."""
    yield p_data(pdv(context_id, store_rq(uid, sop_class), command=True))
    for start in range(0, max(1, len(data)), piece):
        yield p_data(pdv(context_id, data[start : start + piece], last=start + piece >= len(data)))


def _context_results(body: bytes) -> Iterator[tuple[int, int]]:
    position = 68
    while position < len(body):
        kind, length = struct.unpack_from(">BxH", body, position)
        if kind == 0x21:
            yield body[position + 4], body[position + 6]
        position += 4 + length
