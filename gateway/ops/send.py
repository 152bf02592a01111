"""C-ECHO and C-STORE as a user starts them: is the peer there, and take these files to it."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from gateway.domain.peer import ApplicationEntity
from gateway.errors import InputError, NetworkError, PeerSystemError, RemoteProtocolError, SpoolCorrupt
from gateway.net.deadline import Deadline
from gateway.net.dial import CONTEXT_LIMIT_COUNT, DialSettings, Proposal, dial, release
from gateway.ops.part10 import Part10File, read_part10
from gateway.transfer.retry import is_delivered
from gateway.transfer.send import Extent, Outgoing, Sender
from gateway.wire import uids
from gateway.wire.command import CEchoRQ, CEchoRSP
from gateway.wire.events import CommandReceived
from gateway.wire.status import SUCCESS, words

GOODBYE_TIMEOUT_S = 2.0
"""For the peer to answer A-RELEASE-RQ, or to close after A-ABORT."""


def echo(ae: ApplicationEntity, settings: DialSettings) -> float:
    """Send C-ECHO; returns the seconds from the request to its answer.

    Raises:
        NetworkError, RemoteProtocolError: no association, or no proper answer.
        PeerSystemError: the peer does not offer verification, or answers with a failure.
    """
    connection = dial(ae, [Proposal(uids.VERIFICATION, uids.IMPLICIT_VR_LITTLE_ENDIAN)], settings)
    try:
        if not connection.association.contexts:
            raise PeerSystemError(f"{ae} accepted the association but not the Verification SOP class")
        (context_id,) = connection.association.contexts
        deadline = Deadline.after(settings.response_timeout_s)
        began_at = monotonic()
        request = CEchoRQ(1, uids.VERIFICATION)
        connection.send([connection.association.send_command(context_id, request)], deadline)
        match connection.next_event(deadline):
            case CommandReceived(_, CEchoRSP(status=status)):
                if status != SUCCESS:
                    raise PeerSystemError(f"{ae} answered C-ECHO with {words(status)}")
                return monotonic() - began_at
            case event:
                raise RemoteProtocolError(f"{type(event).__name__} where a C-ECHO response was due")
    finally:
        release(connection, GOODBYE_TIMEOUT_S)


def dicom_files(paths: Iterable[Path]) -> list[Part10File]:
    """The DICOM files among the given files and below the given folders, in order of their names.

    Raises:
        InputError: a file given by name is no DICOM file, or there is none at all.
    """
    found: list[Part10File] = []
    for path in paths:
        if path.is_dir():
            for candidate in sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names):
                with suppress(InputError):  # folders of DICOM files often hold a licence or an index beside them
                    found.append(read_part10(candidate))
        else:
            found.append(read_part10(path))
    if not found:
        raise InputError("no DICOM files there that could be sent")
    return found


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one file. `status` is None when it was not answered for."""

    file: Part10File
    status: int | None
    detail: str

    @property
    def delivered(self) -> bool:
        """Whether the peer has it: it answered with success, or stored it with a warning."""
        return self.status is not None and is_delivered(self.status)


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
    results: list[SendResult] = []
    ended = False
    for file in files:
        if ended:
            result = SendResult(file, None, "not sent: the association had ended")
        else:
            try:
                result = _send_file(sender, file)
            except (NetworkError, RemoteProtocolError, SpoolCorrupt) as error:
                connection.abort(Deadline.after(GOODBYE_TIMEOUT_S))
                ended, result = True, SendResult(file, None, str(error))
        results.append(result)
        on_result(result)
    if not ended:
        release(connection, GOODBYE_TIMEOUT_S)
    return results


def _send_file(sender: Sender, file: Part10File) -> SendResult:
    """Send one file.

    Raises:
        NetworkError, RemoteProtocolError, SpoolCorrupt: the association is of no use any more.
    """
    if not sender.accepts(file.sop_class_uid, file.transfer_syntax_uid):
        return SendResult(file, None, "not sent: the peer does not accept its SOP class in its transfer syntax")
    if file.data_bytes % 2:
        return SendResult(
            file, None, "not sent: its data set has an odd number of bytes (PS3.5 §7.1.1); repair the file"
        )
    try:
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return SendResult(file, None, f"not sent: the file cannot be read: {error.strerror}")
    try:
        source = _FileSource(fd, file.data_offset, file.data_bytes)
        sent = sender.send(
            Outgoing(
                file.sop_class_uid,
                file.sop_instance_uid,
                file.transfer_syntax_uid,
                source,
            )
        )
        return SendResult(file, sent.status, words(sent.status))
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class _FileSource:
    """The data set inside a Part 10 file."""

    fd: int
    data_offset: int
    data_bytes: int

    def beyond(self, offset: int) -> Extent:
        return Extent(self.data_bytes, is_whole=True)

    def read_into(self, buffer: memoryview, count: int, offset: int) -> int:
        """Read what is asked for, or less.

        Raises:
            SpoolCorrupt: the disk does not give the bytes back, or somebody cut the file short.
        """
        try:
            got = os.preadv(self.fd, [buffer[:count]], self.data_offset + offset)
        except OSError as error:
            raise SpoolCorrupt(f"the file cannot be read to its end: {error.strerror}") from error
        if not got:
            raise SpoolCorrupt("the file was cut short while it was being sent")
        return got
