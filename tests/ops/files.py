"""DICOM files put together by hand, well and badly; nothing here comes from the gateway's own code."""

import struct
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pydicom.data

from tests.scp.raw import CT, EXPLICIT, data_set, new_uid

CT_SMALL = Path(str(pydicom.data.get_testdata_file("CT_small.dcm")))

PROPER = -1
"""Group length: the true one."""


def element(number: int, vr: bytes, value: bytes) -> bytes:
    """An element of group 0002, its value as given, odd or even."""
    length = struct.pack("<HI", 0, len(value)) if vr in (b"OB", b"UN") else struct.pack("<H", len(value))
    return struct.pack("<HH2s", 0x0002, number, vr) + length + value


def part10(
    data: bytes,
    *,
    sop_class: str = CT,
    sop_instance: str = "1.2.3.4",
    syntax: str = EXPLICIT,
    group_length: int | None = PROPER,
    padded: bool = True,
    extra: bool = False,
) -> bytes:
    """A file (PS3.10 §7.1) around a data set.

    `group_length` may be wrong or None for none; without `padded` the UIDs keep an odd length; `extra` adds private
    information of odd length.
    """
    uids = {0x0002: sop_class, 0x0003: sop_instance, 0x0010: syntax, 0x0012: "1.2.3.4.5"}
    meta = element(0x0001, b"OB", b"\0\1")
    for number, uid in uids.items():
        value = uid.encode()
        meta += element(number, b"UI", value + b"\0" if padded and len(value) % 2 else value)
    if extra:
        meta += element(0x0100, b"UI", b"1.2.3") + element(0x0102, b"OB", b"\x02\x00\x00")
    if group_length is not None:
        meta = element(0x0000, b"UL", struct.pack("<I", len(meta) if group_length == PROPER else group_length)) + meta
    return bytes(128) + b"DICM" + meta + data


@dataclass(frozen=True)
class File:
    """A written file: the UID of its instance and the digest of its data set."""

    path: Path
    uid: str
    sha256: str


def part10_ct(path: Path, patient_id: str, **changes: object) -> File:
    """A file with a small CT image of its own."""
    uid = new_uid()
    data = data_set(uid, patient_id, **changes)
    path.write_bytes(part10(data, sop_instance=uid))
    return File(path, uid, sha256(data).hexdigest())
