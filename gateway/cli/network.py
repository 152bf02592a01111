"""`gateway institution|ae|route`: the network's objects. A running gateway follows within a quarter of a second."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.common import (
    DEFAULT_FILE,
    ConfigOption,
    InstitutionOption,
    JsonOption,
    done,
    dump,
    node,
    not_personal,
    show,
)
from gateway.domain.institution import Institution, ParticipationState
from gateway.domain.peer import ApplicationEntity, ae_title
from gateway.domain.transfer import Route
from gateway.store.network import (
    put_ae,
    put_institution,
    put_route,
    read_network,
    remove_ae,
    remove_route,
    set_institution_state,
)

institution_app = typer.Typer(help="Institutions that take part in the exchange.", no_args_is_help=True)
ae_app = typer.Typer(help="DICOM application entities of the institutions.", no_args_is_help=True)
route_app = typer.Typer(help="Where received instances go.", no_args_is_help=True)

OidArgument = Annotated[str, typer.Argument(metavar="OID", help="For example 1.2.410.100110.10.12345678.")]
TitleArgument = Annotated[
    str, typer.Argument(metavar="TITLE", help="AE title, up to 16 characters.", callback=not_personal)
]


@institution_app.command("add")
def institution_add(
    oid: OidArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The institution's name.", callback=not_personal)],
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Register an institution, operating from now on, or change its name."""
    institution = Institution(oid, name)
    with node(config) as (_, database), database.write() as session:
        put_institution(session, institution)
    done(json, f"Registered {institution.name} ({institution.oid}).", oid=institution.oid, name=institution.name)


@institution_app.command("suspend")
def institution_suspend(oid: OidArgument, config: ConfigOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """Stop every exchange with an institution at once."""
    _set_state(oid, ParticipationState.SUSPENDED, config, json)


@institution_app.command("resume")
def institution_resume(oid: OidArgument, config: ConfigOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """Let a suspended institution exchange again."""
    _set_state(oid, ParticipationState.OPERATING, config, json)


def _set_state(oid: str, state: ParticipationState, config: Path, json: bool) -> None:
    with node(config) as (_, database), database.write() as session:
        set_institution_state(session, oid, state)
    done(json, f"{oid} is {state}.", oid=oid, state=state)


@institution_app.command("list")
def institution_list(config: ConfigOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """All institutions."""
    with node(config) as (_, database), database.read() as session:
        institutions = list(read_network(session).institutions.values())
    if json:
        dump([{"oid": i.oid, "name": i.name, "state": i.state} for i in institutions])
    else:
        rows = [(i.oid, i.name, i.state) for i in institutions]
        show(
            ("OID", "Name", "State"),
            rows,
            empty="None yet. Register one with `gateway institution add OID NAME`.",
        )


@ae_app.command("add")
def ae_add(
    title: TitleArgument,
    host: Annotated[str, typer.Argument(metavar="HOST", help="Where it listens: host name or address.")],
    port: Annotated[int, typer.Argument(metavar="PORT", help="Where it listens: TCP port.")],
    institution: InstitutionOption,
    address: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address or network (CIDR) it may call from; repeatable. Not given: HOST, if an address.",
        ),
    ] = None,
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Register an application entity, or change it."""
    addresses = tuple(address or ([host] if _is_address(host) else []))
    ae = ApplicationEntity(ae_title(title), institution, host, port, addresses)
    with node(config) as (_, database), database.write() as session:
        put_ae(session, ae)
    line = f"Registered {ae}; it may call from {', '.join(ae.addresses) or 'nowhere (give --address)'}."
    done(json, line, **_ae_fields(ae))


@ae_app.command("remove")
def ae_remove(title: TitleArgument, config: ConfigOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """Remove an application entity; its associations are refused from then on."""
    with node(config) as (_, database), database.write() as session:
        remove_ae(session, ae_title(title))
    done(json, f"Removed {ae_title(title)}.", removed=ae_title(title))


@ae_app.command("list")
def ae_list(config: ConfigOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """All application entities."""
    with node(config) as (_, database), database.read() as session:
        aes = list(read_network(session).application_entities.values())
    if json:
        dump([_ae_fields(ae) for ae in aes])
    else:
        rows = [(ae.title, ae.host, ae.port, ae.institution_oid, ", ".join(ae.addresses)) for ae in aes]
        columns = ("Title", "Host", "Port", "Institution", "May call from")
        show(
            columns,
            rows,
            empty="None yet. Register one with `gateway ae add TITLE HOST PORT --institution OID`.",
        )


@route_app.command("add")
def route_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the route.", callback=not_personal)],
    to: Annotated[str, typer.Option(metavar="TITLE", help="AE title of the destination.")],
    calling: Annotated[
        str | None, typer.Option(metavar="TITLE", help="Only what this AE title sends. Not given: from all.")
    ] = None,
    called: Annotated[
        str | None,
        typer.Option(metavar="TITLE", help="Only what is addressed to this AE title. Not given: to any."),
    ] = None,
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Add a route, or change it. A route only says where; whether it may go is decided for each study."""
    route = Route(name, ae_title(to), ae_title(calling) if calling else None, ae_title(called) if called else None)
    with node(config) as (_, database), database.write() as session:
        put_route(session, route)
    line = f"Route {name}: from {route.calling_ae_title or 'any'} to {route.destination_ae_title}."
    done(json, line, **_route_fields(route))


@route_app.command("remove")
def route_remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The route's name.")],
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Remove a route; what is queued already still goes."""
    with node(config) as (_, database), database.write() as session:
        remove_route(session, name)
    done(json, f"Removed route {name}.", removed=name)


@route_app.command("list")
def route_list(config: ConfigOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """All routes."""
    with node(config) as (_, database), database.read() as session:
        routes = read_network(session).routes
    if json:
        dump([_route_fields(route) for route in routes])
    else:
        rows = [
            (r.name, r.calling_ae_title or "any", r.called_ae_title or "any", r.destination_ae_title) for r in routes
        ]
        columns = ("Name", "Calling AE title", "Called AE title", "Destination")
        show(columns, rows, empty="None yet. Add one with `gateway route add NAME --to TITLE`.")


def _ae_fields(ae: ApplicationEntity) -> dict[str, object]:
    return {
        "title": ae.title,
        "host": ae.host,
        "port": ae.port,
        "institution_oid": ae.institution_oid,
        "addresses": ae.addresses,
    }


def _route_fields(route: Route) -> dict[str, object]:
    return {
        "name": route.name,
        "calling_ae_title": route.calling_ae_title,
        "called_ae_title": route.called_ae_title,
        "destination_ae_title": route.destination_ae_title,
    }


def _is_address(host: str) -> bool:
    return all(part.isdigit() for part in host.split(".")) or ":" in host
