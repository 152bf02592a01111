"""The SOP classes and transfer syntaxes offered to peers. The conformance statement's table is this module."""

from collections.abc import Iterable

from gateway.wire import uids
from gateway.wire.command import (
    CEchoRQ,
    CEchoRSP,
    Command,
    CStoreRQ,
    CStoreRSP,
    OtherCommand,
    unrecognized_operation,
)
from gateway.wire.negotiation import prefer_as_sent
from gateway.wire.status import SOP_CLASS_NOT_SUPPORTED

_STORAGE_BESIDE_THE_ROOT = frozenset(
    {
        "1.2.840.10008.5.1.1.27",  # Stored Print, retired
        "1.2.840.10008.5.1.4.34.1",  # RT Beams Delivery Instruction, trial
        "1.2.840.10008.5.1.4.34.7",  # RT Beams Delivery Instruction
        "1.2.840.10008.5.1.4.34.10",  # RT Brachy Application Setup Delivery Instruction
        "1.2.840.10008.5.1.4.38.1",  # Hanging Protocol
        "1.2.840.10008.5.1.4.39.1",  # Color Palette
        "1.2.840.10008.5.1.4.43.1",  # Generic Implant Template
        "1.2.840.10008.5.1.4.44.1",  # Implant Assembly Template
        "1.2.840.10008.5.1.4.45.1",  # Implant Template Group
    }
)
"""Storage SOP classes that do not stand under the common root (PS3.4 Annexes B.5 and GG)."""

_SERVICES_UNDER_THE_ROOT = frozenset(
    {
        uids.STORAGE_ROOT + "200.4",  # Protocol Approval - FIND
        uids.STORAGE_ROOT + "200.5",  # Protocol Approval - MOVE
        uids.STORAGE_ROOT + "200.6",  # Protocol Approval - GET
        uids.STORAGE_ROOT + "201.1.1",  # Storage Management, a well-known instance
        uids.STORAGE_ROOT + "201.2",  # Inventory - FIND
        uids.STORAGE_ROOT + "201.3",  # Inventory - MOVE
        uids.STORAGE_ROOT + "201.4",  # Inventory - GET
        uids.STORAGE_ROOT + "201.5",  # Inventory Creation
        uids.STORAGE_ROOT + "201.6",  # Repository Query
    }
)
"""What stands under the common root and is not stored (PS3.6 Annex A)."""


class SOPClasses:
    """Which abstract syntaxes are accepted; private storage classes only where the site names them."""

    def __init__(self, private_storage: Iterable[str] = ()) -> None:
        self._beside = _STORAGE_BESIDE_THE_ROOT | frozenset(private_storage)

    def is_storage(self, uid: str) -> bool:
        is_under_root = uid.startswith(uids.STORAGE_ROOT) and uid not in _SERVICES_UNDER_THE_ROOT
        return is_under_root or uid in self._beside

    def is_supported(self, uid: str) -> bool:
        return uid == uids.VERIFICATION or self.is_storage(uid)


def choose_transfer_syntax(offered: tuple[str, ...]) -> str | None:
    """The transfer syntax in which a peer's instances come in, and leave again; None when none can be read.

    Big endian only where nothing else is offered: storescu lists it before implicit VR, converts to it, and few
    destinations take what has been retired.
    """
    current = tuple(uid for uid in offered if uid != uids.EXPLICIT_VR_BIG_ENDIAN)
    return prefer_as_sent(current) or prefer_as_sent(offered)


def not_performed(command: CStoreRQ | CEchoRQ | OtherCommand) -> Command:
    """The answer to a request that nobody here performs, or not on the presentation context it came on."""
    match command:
        case CStoreRQ():
            return CStoreRSP(
                command.message_id,
                command.affected_sop_class_uid,
                command.affected_sop_instance_uid,
                SOP_CLASS_NOT_SUPPORTED,
            )
        case CEchoRQ():
            return CEchoRSP(command.message_id, command.affected_sop_class_uid, SOP_CLASS_NOT_SUPPORTED)
        case OtherCommand():
            return unrecognized_operation(command)
