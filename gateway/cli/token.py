"""`gateway token`: who may use the REST interface."""

from datetime import timedelta
from typing import Annotated

import typer

from gateway.app.parts import utc_now
from gateway.cli.common import (
    DEFAULT_FILE,
    ConfigOption,
    InstitutionOption,
    JsonOption,
    done,
    dump,
    node,
    not_personal,
    say,
    show,
)
from gateway.domain.access import Role
from gateway.store.tokens import create_token, list_tokens, revoke_token

token_app = typer.Typer(help="Tokens for the REST interface.", no_args_is_help=True)

DAYS_LIMIT = 3650
"""Ten years: longer than any installation should keep a secret."""


@token_app.command("create")
def token_create(
    institution: InstitutionOption,
    role: Annotated[Role, typer.Option(case_sensitive=False, help="What its holder may do.")],
    label: Annotated[str, typer.Option(help="Whose it is, for the list.", callback=not_personal)] = "",
    days: Annotated[
        int | None, typer.Option(min=1, max=DAYS_LIMIT, help="Days it is valid. Not given: until revoked.")
    ] = None,
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Make a token. It is printed once and cannot be had again."""
    now = utc_now()
    expires_at = now + timedelta(days=days) if days else None
    with node(config) as (_, database), database.write() as session:
        token, text = create_token(session, institution, role, label=label, now=now, expires_at=expires_at)
    if json:
        dump({"id": token.id, "token": text, "role": token.role, "institution_oid": token.institution_oid})
    else:
        say(text)


@token_app.command("list")
def token_list(config: ConfigOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """All tokens, without their secrets."""
    now = utc_now()
    with node(config) as (_, database), database.read() as session:
        tokens = list_tokens(session)
    if json:
        dump(
            [
                {
                    "id": t.id,
                    "institution_oid": t.institution_oid,
                    "role": t.role,
                    "label": t.label,
                    "created_at": t.created_at.isoformat(),
                    "expires_at": t.expires_at.isoformat() if t.expires_at else None,
                    "revoked_at": t.revoked_at.isoformat() if t.revoked_at else None,
                }
                for t in tokens
            ]
        )
        return
    rows = []
    for t in tokens:
        expired = t.expires_at is not None and t.expires_at <= now
        state = "revoked" if t.revoked_at else "expired" if expired else "valid"
        rows.append((t.id, t.role, t.institution_oid, t.label, state))
    show(
        ("Id", "Role", "Institution", "Label", "State"),
        rows,
        empty="None yet. Make one with `gateway token create`.",
    )


@token_app.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as listed.")],
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """End a token at once."""
    with node(config) as (_, database), database.write() as session:
        revoke_token(session, token_id, utc_now())
    done(json, f"Revoked {token_id}.", revoked=token_id)
