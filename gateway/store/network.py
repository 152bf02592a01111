"""Institutions, application entities and routes: registered, listed, removed. Every change advances the epoch."""

from typing import TypeVar

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from gateway.domain.institution import Institution, ParticipationState
from gateway.domain.network import Network
from gateway.domain.peer import ApplicationEntity
from gateway.domain.transfer import Route
from gateway.errors import Conflict, NotFound
from gateway.store.tables import ApplicationEntityRow, EpochRow, InstitutionRow, RouteRow

_ONLY = 1
RowT = TypeVar("RowT")


_EPOCH = select(EpochRow.value).where(EpochRow.id == _ONLY)
"""Built once: it is asked several times a second, all day."""


def read_epoch(session: Session) -> int:
    """How many changes the network and the consents have seen."""
    return session.connection().scalar(_EPOCH) or 0


def advance_epoch(session: Session) -> None:
    """To be called in the transaction of every change that a decision could depend on."""
    changed = session.execute(update(EpochRow).where(EpochRow.id == _ONLY).values(value=EpochRow.value + 1))
    if not changed.rowcount:  # type: ignore[attr-defined]  # an UPDATE yields a cursor result
        session.add(EpochRow(id=_ONLY, value=1))


def read_network(session: Session) -> Network:
    """The whole network as of this session."""
    return Network(
        epoch=read_epoch(session),
        institutions={row.oid: _institution(row) for row in session.scalars(select(InstitutionRow))},
        application_entities={row.title: _ae(row) for row in session.scalars(select(ApplicationEntityRow))},
        routes=tuple(_route(row) for row in session.scalars(select(RouteRow).order_by(RouteRow.name))),
    )


def put_institution(session: Session, institution: Institution) -> None:
    """Register an institution, or change its name; the state of a known one stays as it is."""
    known = session.get(InstitutionRow, institution.oid)
    if known is None:
        session.add(InstitutionRow(oid=institution.oid, name=institution.name, state=institution.state.value))
    else:
        known.name = institution.name
    advance_epoch(session)


def set_institution_state(session: Session, oid: str, state: ParticipationState) -> None:
    """Suspend an institution or let it operate again.

    Raises:
        NotFound: no such institution.
    """
    _require(session.get(InstitutionRow, oid), f"institution {oid}").state = state.value
    advance_epoch(session)


def put_ae(session: Session, ae: ApplicationEntity) -> None:
    """Register an application entity, or change it.

    Raises:
        NotFound: its institution is not registered.
        Conflict: the title belongs to another institution.
    """
    _require(session.get(InstitutionRow, ae.institution_oid), f"institution {ae.institution_oid}")
    known = session.get(ApplicationEntityRow, ae.title)
    if known and known.institution_oid != ae.institution_oid:
        raise Conflict(f"AE title {ae.title} belongs to another institution; remove it there first")
    session.merge(
        ApplicationEntityRow(
            title=ae.title,
            institution_oid=ae.institution_oid,
            host=ae.host,
            port=ae.port,
            addresses=" ".join(ae.addresses),
        )
    )
    advance_epoch(session)


def remove_ae(session: Session, title: str) -> None:
    """Remove an application entity.

    Raises:
        NotFound: no such title.
        Conflict: a route still leads to it.
    """
    row = _require(session.get(ApplicationEntityRow, title), f"AE title {title}")
    if name := session.scalar(select(RouteRow.name).where(RouteRow.destination_ae_title == title)):
        raise Conflict(f"AE title {title} is the destination of route {name}; remove the route first")
    session.delete(row)
    advance_epoch(session)


def put_route(session: Session, route: Route) -> None:
    """Add a route, or change it.

    Raises:
        NotFound: its destination is not registered.
    """
    _require(
        session.get(ApplicationEntityRow, route.destination_ae_title),
        f"AE title {route.destination_ae_title}",
    )
    session.merge(
        RouteRow(
            name=route.name,
            calling_ae_title=route.calling_ae_title,
            called_ae_title=route.called_ae_title,
            destination_ae_title=route.destination_ae_title,
        )
    )
    advance_epoch(session)


def remove_route(session: Session, name: str) -> None:
    """Remove a route.

    Raises:
        NotFound: no such route.
    """
    session.delete(_require(session.get(RouteRow, name), f"route {name}"))
    advance_epoch(session)


def _require(row: RowT | None, what: str) -> RowT:
    if row is None:
        raise NotFound(f"{what} is not registered")
    return row


def _institution(row: InstitutionRow) -> Institution:
    return Institution(row.oid, row.name, ParticipationState(row.state))


def _ae(row: ApplicationEntityRow) -> ApplicationEntity:
    return ApplicationEntity(row.title, row.institution_oid, row.host, row.port, tuple(row.addresses.split()))


def _route(row: RouteRow) -> Route:
    return Route(row.name, row.destination_ae_title, row.calling_ae_title, row.called_ae_title)
