"""Consent forms: registered by the desk, in effect at once. Patient ids never stand in a URL."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from gateway.consent.forms import ConsentForm, ConsentMode, EffectiveConsent, FormKind
from gateway.domain.access import Caller, Role
from gateway.domain.person import PATIENT_ID_LIMIT_CHARACTERS, PatientKey
from gateway.errors import DocumentRejected, InputError
from gateway.store.consents import effective_consent, forms_of, register_form
from gateway.web.access import Context, requires
from gateway.web.problems import CONFLICT, MALFORMED, responses

router = APIRouter(prefix="/api/v1/consents", tags=["consents"])

PatientId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=PATIENT_ID_LIMIT_CHARACTERS,
        description="The patient's id at your institution.",
    ),
]
Desk = Annotated[Caller, requires(Role.DESK)]
Asker = Annotated[Caller, requires(Role.DESK, Role.CLINICIAN)]


class Registration(BaseModel):
    """A form a patient has signed."""

    model_config = ConfigDict(extra="forbid")
    patient_id: PatientId
    form: FormKind


class Lookup(BaseModel):
    """Whose consent is asked for."""

    model_config = ConfigDict(extra="forbid")
    patient_id: PatientId


class FormOut(BaseModel):
    """A registered form."""

    id: str
    form: FormKind
    registered_at: datetime


class Registered(FormOut):
    """A form just registered, and what holds since."""

    mode: ConsentMode


class ConsentOut(BaseModel):
    """What holds now, and the forms it came from, in the order of registration."""

    mode: ConsentMode
    forms: list[FormOut]


@router.post(
    "",
    operation_id="registerConsentForm",
    summary="Register a consent or a withdrawal; it holds when this is answered.",
    status_code=201,
    responses=responses(MALFORMED, CONFLICT),
)
def register(body: Registration, caller: Desk, context: Context) -> Registered:
    """Refused as a conflict when there is nothing to withdraw."""
    patient = _patient(caller, body.patient_id)

    def operation(session: Session) -> tuple[ConsentForm, EffectiveConsent]:
        form = register_form(session, patient, body.form, context.clock(), caller.token_id)
        return form, effective_consent(session, patient)

    form, effective = context.writer.write(operation)
    context.authority.refresh()
    return Registered(id=form.id, form=form.kind, registered_at=form.registered_at, mode=effective.mode)


@router.post(
    "/lookup",
    operation_id="lookUpConsent",
    summary="What a patient of your institution has consented to.",
    responses=responses(MALFORMED),
)
def look_up(body: Lookup, caller: Asker, context: Context) -> ConsentOut:
    """A POST, so that the patient's id is in the body and not in a URL."""
    patient = _patient(caller, body.patient_id)
    with context.database.read() as session:
        effective = effective_consent(session, patient)
        forms = forms_of(session, patient)
    return ConsentOut(
        mode=effective.mode,
        forms=[FormOut(id=form.id, form=form.kind, registered_at=form.registered_at) for form in forms],
    )


def _patient(caller: Caller, patient_id: str) -> PatientKey:
    try:
        return PatientKey(caller.institution_oid, patient_id.strip())
    except InputError as error:
        raise DocumentRejected(str(error), "patient_id") from error
