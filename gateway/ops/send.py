"""C-ECHO and C-STORE as a user starts them: is the peer there, and take these files to it."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from gateway.domain.peer import ApplicationEntity
from gateway.errors import InputError, NetworkError, RemoteProtocolError
from gateway.net.connection import Connection
from gateway.net.deadline import Deadline
from gateway.net.dial import CONTEXT_LIMIT_COUNT, DialSettings, Proposal, dial, release
from gateway.transfer.send import Outgoing, Sender
from gateway.wire import uids
from gateway.wire.command import CEchoRQ, CEchoRSP
from gateway.wire.events import CommandReceived
from gateway.wire.status import SUCCESS, words

GOODBYE_TIMEOUT_S = 2.0
"""For the peer to answer A-RELEASE-RQ."""

_PREAMBLE_BYTES = 132
"""PS3.10 §7.1: 128 bytes and the prefix DICM."""

_GROUP_LENGTH_ELEMENT_BYTES = 12
"""(0002,0000) UL in explicit VR little endian; its value counts the bytes that follow it."""


def echo(ae: ApplicationEntity, settings: DialSettings) -> float:
    """Send C-ECHO; returns the seconds from the request to its answer.

    Raises:
        NetworkError, RemoteProtocolError: no association, or no proper answer.
        InputError: the peer does not offer verification, or answers with a failure.
    """
    connection = dial(ae, [Proposal(uids.VERIFICATION, uids.IMPLICIT_VR_LITTLE_ENDIAN)], settings)
    try:
        if not connection.association.contexts:
            raise InputError(f"{ae} accepted the association but not the Verification SOP class")
        (context_id,) = connection.association.contexts
        deadline = Deadline.after(settings.response_timeout_s)
        began_at = monotonic()
        request = CEchoRQ(1, uids.VERIFICATION)
        connection.send([connection.association.send_command(context_id, request)], deadline)
        match connection.next_event(deadline):
            case CommandReceived(_, CEchoRSP(status=status)):
                if status != SUCCESS:
                    raise InputError(f"{ae} answered C-ECHO with {words(status)}")
                return monotonic() - began_at
            case event:
                raise RemoteProtocolError(f"{type(event).__name__} where a C-ECHO response was due")
    finally:
        release(connection, GOODBYE_TIMEOUT_S)


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
    """Look into a DICOM file (PS3.10 §7.1).

    Raises:
        InputError: it is no DICOM file, or has no usable file meta information.
    """
    try:
        meta = read_file_meta_info(path)
        offset = _PREAMBLE_BYTES + _GROUP_LENGTH_ELEMENT_BYTES + int(meta.FileMetaInformationGroupLength)
        return Part10File(
            path,
            str(meta.MediaStorageSOPClassUID),
            str(meta.MediaStorageSOPInstanceUID),
            str(meta.TransferSyntaxUID),
            offset,
            path.stat().st_size - offset,
        )
    except (InvalidDicomError, AttributeError, OSError, ValueError) as error:
        raise InputError(f"{path.name}: not a DICOM file with file meta information") from error


def dicom_files(paths: Iterable[Path]) -> list[Part10File]:
    """The DICOM files among the given files and below the given folders, in order of their names.

    Raises:
        InputError: a file given by name is no DICOM file, or there is none at all.
    """
    found = []
    for path in paths:
        if path.is_dir():
            for candidate in sorted(p for p in path.rglob("*") if p.is_file()):
                try:
                    found.append(read_part10(candidate))
                except InputError:
                    continue  # folders of DICOM files often hold a licence or an index beside them
        else:
            found.append(read_part10(path))
    if not found:
        raise InputError("no DICOM files there")
    return found


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one file. `status` is None when it was not answered for."""

    file: Part10File
    status: int | None
    detail: str

    @property
    def delivered(self) -> bool:
        return self.status == SUCCESS


def send_files(
    ae: ApplicationEntity,
    files: Sequence[Part10File],
    settings: DialSettings,
    on_result: Callable[[SendResult], None] = lambda _: None,
) -> list[SendResult]:
    """Send files on one association; goes on after a failure status, ends where the association does.

    Raises:
        NetworkError, RemoteProtocolError: there was no association at all.
        InputError: the files need more than 128 presentation contexts.
    """
    proposals = list(dict.fromkeys(Proposal(file.sop_class_uid, file.transfer_syntax_uid) for file in files))
    if len(proposals) > CONTEXT_LIMIT_COUNT:
        raise InputError("these files need more than 128 presentation contexts; send them in parts")
    connection = dial(ae, proposals, settings)
    sender = Sender(connection, settings.response_timeout_s, settings.response_timeout_s)
    results = []
    for file in files:
        result = _send_file(sender, connection, file)
        results.append(result)
        on_result(result)
    release(connection, GOODBYE_TIMEOUT_S)
    return results


def _send_file(sender: Sender, connection: Connection, file: Part10File) -> SendResult:
    if connection.association.is_closed:
        return SendResult(file, None, "not sent: the association had ended")
    if not sender.accepts(file.sop_class_uid, file.transfer_syntax_uid):
        return SendResult(file, None, "not sent: the peer does not accept its SOP class in its transfer syntax")
    fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        source = _FileSource(fd, file.data_offset)
        sent = sender.send(
            Outgoing(
                file.sop_class_uid,
                file.sop_instance_uid,
                file.transfer_syntax_uid,
                file.data_bytes,
                None,
                source,
            )
        )
        return SendResult(file, sent.status, words(sent.status))
    except (NetworkError, RemoteProtocolError) as error:
        connection.close()
        return SendResult(file, None, str(error))
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class _FileSource:
    """The data set inside a Part 10 file."""

    fd: int
    data_offset: int

    def read_into(self, slots: Sequence[memoryview], offset: int) -> int:
        return os.preadv(self.fd, slots, self.data_offset + offset)
