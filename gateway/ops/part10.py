"""Where the data set of a DICOM file begins, and what the file says of it (PS3.10 §7.1).

The elements of group 0002 are walked one by one. Their group length (0002,0000) is not trusted: files whose writer
forgot to correct it are common, and a data set cut at the wrong place would be sent as something else than it is.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import BinaryIO

from gateway.errors import InputError
from gateway.wire.uids import is_uid_text

_PREAMBLE_BYTES = 128
_PREFIX = b"DICM"
_META_GROUP = 0x0002
_ELEMENT = Struct("<HH2sH")  # group, element, VR, length; group 0002 is in explicit VR little endian
_LONG_LENGTH = Struct("<I")
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
"""Those with two reserved bytes and a length of four (PS3.5 §7.1.2)."""

_SOP_CLASS_UID, _SOP_INSTANCE_UID, _TRANSFER_SYNTAX_UID = 0x0002, 0x0003, 0x0010
_UIDS = (_SOP_CLASS_UID, _SOP_INSTANCE_UID, _TRANSFER_SYNTAX_UID)

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
"""A DICOMDIR: an index of the files beside it, never sent (PS3.4 Annex B)."""

UID_READ_LIMIT_BYTES = 128
"""A UID has 64 characters; a longer value is read so far as to see that it is none."""


@dataclass(frozen=True, slots=True)
class Part10File:
    """A DICOM file as far as sending it needs: what it holds and where its data set begins."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_offset: int
    data_bytes: int


def read_part10(path: Path) -> Part10File:
    """Look into a DICOM file.

    Raises:
        InputError: it is no DICOM file with usable file meta information, or holds nothing to send.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path.name}: not a file")
            size_bytes = os.fstat(file.fileno()).st_size
            if file.read(_PREAMBLE_BYTES + len(_PREFIX))[_PREAMBLE_BYTES:] != _PREFIX:
                raise InputError(f"{path.name}: not a DICOM file")
            uids = _meta_uids(file)
            offset = file.tell()
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read: {error.strerror}") from error
    if not all(is_uid_text(uids.get(element, "")) for element in _UIDS):
        raise InputError(f"{path.name}: its file meta information does not name SOP class, instance, transfer syntax")
    if uids[_SOP_CLASS_UID] == MEDIA_STORAGE_DIRECTORY:
        raise InputError(f"{path.name}: a directory of DICOM files (DICOMDIR), no instance")
    if offset >= size_bytes:
        raise InputError(f"{path.name}: holds no data set")
    sop_class_uid, sop_instance_uid, transfer_syntax_uid = (uids[element] for element in _UIDS)
    return Part10File(path, sop_class_uid, sop_instance_uid, transfer_syntax_uid, offset, size_bytes - offset)


def _without_waiting(path: str, flags: int) -> int:
    """Opens a named pipe too, without waiting for a writer, so that it can be seen to be none of ours."""
    return os.open(path, flags | os.O_NONBLOCK)


def _meta_uids(file: BinaryIO) -> dict[int, str]:
    """The UIDs of group 0002 by element number; leaves the file at the first byte after the group."""
    uids: dict[int, str] = {}
    while True:
        start = file.tell()
        header = file.read(_ELEMENT.size)
        if len(header) < _ELEMENT.size:
            return uids  # at the end of the file: no element fits into what is left
        group, element, vr, length = _ELEMENT.unpack(header)
        if group != _META_GROUP or not (vr.isalpha() and vr.isupper()):
            file.seek(start)
            return uids
        if vr in _LONG_VRS:
            (length,) = _LONG_LENGTH.unpack(file.read(_LONG_LENGTH.size).ljust(_LONG_LENGTH.size, b"\xff"))
        end = file.tell() + length
        if element in _UIDS:
            value = file.read(min(length, UID_READ_LIMIT_BYTES))
            uids[element] = value.decode("ascii", "replace").rstrip("\0 ")
        file.seek(end)
