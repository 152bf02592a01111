"""The registered network at one moment: who takes part, their application entities, and the routes between them."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.domain.institution import Institution
from gateway.domain.peer import ApplicationEntity
from gateway.domain.transfer import Route


@dataclass(frozen=True, slots=True)
class Network:
    """A consistent reading of the network's objects.

    `epoch` counts every change of them and of consents: equal epochs mean equal decisions.
    """

    epoch: int
    institutions: Mapping[str, Institution]
    application_entities: Mapping[str, ApplicationEntity]
    routes: tuple[Route, ...]

    def institution_of(self, ae_title: str) -> Institution | None:
        """The institution an AE title belongs to; None when either is not registered."""
        ae = self.application_entities.get(ae_title)
        return self.institutions.get(ae.institution_oid) if ae else None
