"""Two associations joined without sockets, and what is needed to feed one of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat

from gateway.wire import uids
from gateway.wire.association import Association, Role
from gateway.wire.events import AssociateAccepted, AssociateRequested, DataReceived, Event
from gateway.wire.negotiation import negotiate
from gateway.wire.pdu import AssociateAC, AssociateRQ, ProposedContext, UserInformation

CT_IMAGE_STORAGE = uids.STORAGE_ROOT + "2"
ECHO_CONTEXT = 1
CT_CONTEXT = 3
REFUSED_CONTEXT = 5
MAXIMUM_LENGTH = 16 * 1024


@dataclass(frozen=True)
class Data:
    """What DataReceived events brought, copied out of the receive buffer."""

    context_id: int
    content: bytes
    last: bool


Seen = Event | Data


def copied(event: Event) -> Seen:
    """The event as a value that outlives the receive buffer; its views are released, so a late reader fails."""
    if not isinstance(event, DataReceived):
        return event
    data = Data(event.context_id, b"".join(event.fragments), event.last)
    for fragment in event.fragments:
        fragment.release()
    return data


def coalesced(events: Iterable[Seen]) -> list[Seen]:
    """The events with consecutive pieces of one data set joined: how they were cut is the transport's doing."""
    joined: list[Seen] = []
    for event in events:
        previous = joined[-1] if joined else None
        if isinstance(event, Data) and isinstance(previous, Data) and not previous.last:
            joined[-1] = Data(event.context_id, previous.content + event.content, event.last)
        else:
            joined.append(event)
    return joined


def fed(association: Association, stream: bytes, sizes: Iterable[int] = ()) -> Iterator[Seen]:
    """Feeds `stream` in pieces of `sizes`, then as large as the buffer takes; yields events as they come."""
    position = 0
    steps = iter(sizes)
    while position < len(stream):
        buffer = association.receive_buffer()
        assert len(buffer) > 0
        count = min(next(steps, len(buffer)), len(buffer), len(stream) - position)
        buffer[:count] = stream[position : position + count]
        position += count
        association.received(count)
        yield from drained(association)


def drained(association: Association) -> Iterator[Seen]:
    """Takes events until there is none."""
    while (event := association.next_event()) is not None:
        yield copied(event)


def a_request(maximum_length: int = MAXIMUM_LENGTH) -> AssociateRQ:
    """A request for C-ECHO, for CT images, and for something nobody supports."""
    explicit = uids.EXPLICIT_VR_LITTLE_ENDIAN
    implicit = uids.IMPLICIT_VR_LITTLE_ENDIAN
    return AssociateRQ(
        called_ae_title="GATEWAY",
        calling_ae_title="HOSPITAL_A",
        presentation_contexts=(
            ProposedContext(ECHO_CONTEXT, uids.VERIFICATION, (implicit,)),
            ProposedContext(CT_CONTEXT, CT_IMAGE_STORAGE, (implicit, explicit)),
            ProposedContext(REFUSED_CONTEXT, "1.2.3.4", (implicit,)),
        ),
        user_information=UserInformation(maximum_length),
    )


def an_acceptance(request: AssociateRQ, maximum_length: int = MAXIMUM_LENGTH) -> AssociateAC:
    """The answer of an acceptor that supports all of DICOM."""
    return AssociateAC(
        called_ae_title=request.called_ae_title,
        calling_ae_title=request.calling_ae_title,
        presentation_contexts=negotiate(request, lambda uid: uid.startswith("1.2.840.10008.")),
        user_information=UserInformation(maximum_length),
    )


class Pair:
    """A requestor and an acceptor, and the bytes between them."""

    def __init__(self) -> None:
        self.requestor = Association(Role.REQUESTOR)
        self.acceptor = Association(Role.ACCEPTOR)

    def to_acceptor(self, stream: bytes | memoryview, sizes: Iterable[int] = ()) -> list[Seen]:
        """What the acceptor makes of bytes from the requestor."""
        return coalesced(fed(self.acceptor, bytes(stream), sizes))

    def to_requestor(self, stream: bytes | memoryview, sizes: Iterable[int] = ()) -> list[Seen]:
        """What the requestor makes of bytes from the acceptor."""
        return coalesced(fed(self.requestor, bytes(stream), sizes))

    def establish(self, piece_bytes: int | None = None) -> "Pair":
        """Goes through the handshake, in pieces of `piece_bytes` if given."""
        sizes = () if piece_bytes is None else repeat(piece_bytes)
        request = a_request()
        assert self.to_acceptor(self.requestor.request(request), sizes) == [AssociateRequested(request)]
        response = an_acceptance(request)
        assert self.to_requestor(self.acceptor.accept(response), sizes) == [AssociateAccepted(response)]
        return self


def established_acceptor() -> Association:
    """An acceptor with the contexts of `a_request` in force."""
    return Pair().establish().acceptor
