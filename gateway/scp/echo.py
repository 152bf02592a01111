"""C-ECHO (PS3.4 Annex A)."""

from gateway.wire.command import CEchoRQ, CEchoRSP
from gateway.wire.status import SUCCESS


def echo(request: CEchoRQ) -> CEchoRSP:
    """We are here."""
    return CEchoRSP(request.message_id, request.affected_sop_class_uid, SUCCESS)
