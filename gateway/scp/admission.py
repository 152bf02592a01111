"""Who may open an association with us. Pure: an A-ASSOCIATE-RQ and what is registered in, a peer or a rejection out."""

from gateway.domain.network import Network
from gateway.domain.peer import ApplicationEntity
from gateway.routing.router import addressable_titles
from gateway.wire.associate import PROTOCOL_VERSION
from gateway.wire.pdu import (
    AssociateRJ,
    AssociateRQ,
    RejectReasonAcse,
    RejectReasonPresentation,
    RejectReasonUser,
    RejectResult,
    RejectSource,
)
from gateway.wire.uids import APPLICATION_CONTEXT


def admit(request: AssociateRQ, address: str, network: Network, own_ae_title: str) -> ApplicationEntity | AssociateRJ:
    """The registered peer that asks, or the rejection to send (PS3.8 §9.3.4).

    An AE title is a claim: it counts only from an address registered for it, and a wrong address is answered just
    like an unknown title.
    """
    if not request.protocol_version & PROTOCOL_VERSION:
        return OTHER_VERSION
    if request.application_context != APPLICATION_CONTEXT:
        return _rejected(RejectReasonUser.APPLICATION_CONTEXT_NAME_NOT_SUPPORTED)
    if request.called_ae_title not in addressable_titles(network.routes, own_ae_title):
        return _rejected(RejectReasonUser.CALLED_AE_TITLE_NOT_RECOGNIZED)
    peer = network.application_entities.get(request.calling_ae_title)
    if peer is None or not peer.may_call_from(address):
        return _rejected(RejectReasonUser.CALLING_AE_TITLE_NOT_RECOGNIZED)
    return peer


def _rejected(reason: RejectReasonUser) -> AssociateRJ:
    return AssociateRJ(RejectResult.PERMANENT, RejectSource.SERVICE_USER, reason)


OTHER_VERSION = AssociateRJ(
    RejectResult.PERMANENT, RejectSource.SERVICE_PROVIDER_ACSE, RejectReasonAcse.PROTOCOL_VERSION_NOT_SUPPORTED
)
"""Bit 0 of the protocol version stands for the only one there is."""

BUSY = AssociateRJ(
    RejectResult.TRANSIENT,
    RejectSource.SERVICE_PROVIDER_PRESENTATION,
    RejectReasonPresentation.LOCAL_LIMIT_EXCEEDED,
)
"""All associations we serve at once, to all peers or to this one, are taken."""

NOT_NOW = AssociateRJ(
    RejectResult.TRANSIENT,
    RejectSource.SERVICE_PROVIDER_PRESENTATION,
    RejectReasonPresentation.TEMPORARY_CONGESTION,
)
"""We cannot say who is registered, or are about to stop."""
