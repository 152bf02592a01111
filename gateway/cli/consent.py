"""`gateway consent`: register what a patient declared, and see what holds."""

import os
import pwd
from pathlib import Path
from typing import Annotated

import typer

from gateway.app.parts import utc_now
from gateway.cli.common import (
    DEFAULT_FILE,
    ConfigOption,
    InstitutionOption,
    JsonOption,
    PatientOption,
    done,
    dump,
    node,
    say,
    show,
    study_uid,
)
from gateway.consent.forms import FormKind
from gateway.domain.decision import explain
from gateway.domain.person import PatientKey
from gateway.store.consents import effective_consent, forms_of, register_form
from gateway.store.decisions import list_decisions

consent_app = typer.Typer(help="The patients' consent and what was decided on it.", no_args_is_help=True)

LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, newest first.")]


@consent_app.command("register")
def consent_register(
    institution: InstitutionOption,
    patient: PatientOption,
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Register a whole consent (전체 동의). It is in effect when this returns."""
    _register(institution, patient, FormKind.ENTIRE_CONSENT, config, json)


@consent_app.command("withdraw")
def consent_withdraw(
    institution: InstitutionOption,
    patient: PatientOption,
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Register a whole withdrawal (전체 철회). A running gateway breaks off what is under way within a second."""
    _register(institution, patient, FormKind.ENTIRE_WITHDRAWAL, config, json)


@consent_app.command("show")
def consent_show(
    institution: InstitutionOption,
    patient: PatientOption,
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """What holds for a patient, and the forms it rests on."""
    key = PatientKey(institution, patient)
    with node(config) as (_, database), database.read() as session:
        state, forms = effective_consent(session, key), forms_of(session, key)
    if json:
        dump(
            {
                "mode": state.mode,
                "forms": [{"id": f.id, "kind": f.kind, "registered_at": f.registered_at.isoformat()} for f in forms],
            }
        )
    else:
        say(f"Consent: {state.mode}")
        rows = [(f.registered_at.isoformat(timespec="seconds"), f.kind, f.id) for f in forms]
        show(("Registered", "Form", "Id"), rows, empty="No form registered.")


@consent_app.command("decisions")
def consent_decisions(
    study: Annotated[
        str | None, typer.Option(metavar="UID", help="Only those on this study.", callback=study_uid)
    ] = None,
    limit: LimitOption = 20,
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """What was decided, and why."""
    with node(config) as (_, database), database.read() as session:
        decisions = list_decisions(session, study_instance_uid=study, limit_count=limit)
    if json:
        dump(
            [
                {
                    "id": d.id,
                    "decided_at": d.decided_at.isoformat(),
                    "study_instance_uid": d.study_instance_uid,
                    "document_id": d.document_id,
                    "source_oid": d.source_oid,
                    "destination_oid": d.destination_oid,
                    "outcome": d.verdict.outcome,
                    "reason": d.verdict.reason,
                    "explanation": explain(d.verdict.reason),
                    "forms": d.verdict.forms,
                    "consent_epoch": d.consent_epoch,
                }
                for d in decisions
            ]
        )
        return
    rows = [
        (
            d.decided_at.isoformat(timespec="seconds"),
            d.verdict.outcome,
            explain(d.verdict.reason),
            d.source_oid,
            d.destination_oid,
            d.study_instance_uid,
        )
        for d in decisions
    ]
    show(("Decided", "Outcome", "Why", "From", "To", "Study"), rows, empty="Nothing has been decided yet.")


def _register(institution: str, patient: str, kind: FormKind, config: Path, json: bool) -> None:
    key = PatientKey(institution, patient)
    with node(config) as (_, database), database.write() as session:
        form = register_form(session, key, kind, utc_now(), f"cli:{_operator()}")
    done(json, f"Registered {form.kind}, form {form.id}.", form=form.kind, id=form.id)


def _operator() -> str:
    """Who runs this command: the name of the process's user, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers run under ids that have no name
        return f"uid {os.getuid()}"
