"""Nobody gets in without a token in force, whatever the path; every operation is for its roles only."""

from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from gateway.domain.access import Role
from gateway.domain.document import DocumentType
from gateway.store.tokens import revoke_token
from gateway.web.access import OPEN_PATHS
from tests.documents.node import PDF, new_patient_id, new_uid, utc_now
from tests.web.serving import Hospital, Served, documents_of, is_problem

Operation = Callable[[httpx.Client], httpx.Response]
STUDY = "1.2.840.1"
UNKNOWN = f"{documents_of(STUDY)}/{'0' * 32}"


def attach(client: httpx.Client) -> httpx.Response:
    data = {"type": DocumentType.CONSENT.value, "patient_id": new_patient_id()}
    return client.post(documents_of(new_uid()), data=data, files={"file": ("x.pdf", PDF)})


def register(client: httpx.Client) -> httpx.Response:
    body = {"patient_id": new_patient_id(), "form": "ENTIRE_CONSENT"}
    return client.post("/api/v1/consents", json=body)


def look_up(client: httpx.Client) -> httpx.Response:
    return client.post("/api/v1/consents/lookup", json={"patient_id": new_patient_id()})


def get(path: str) -> Operation:
    return lambda client: client.get(path)


OPERATIONS: dict[str, tuple[Operation, set[Role], int]] = {
    "attachDocument": (attach, {Role.CLINICIAN, Role.DESK}, 201),
    "listDocuments": (get(documents_of(STUDY)), {Role.CLINICIAN}, 200),
    "getDocument": (get(UNKNOWN), {Role.CLINICIAN}, 404),
    "downloadDocument": (get(f"{UNKNOWN}/content"), {Role.CLINICIAN}, 404),
    "registerConsentForm": (register, {Role.DESK}, 201),
    "lookUpConsent": (look_up, {Role.DESK, Role.CLINICIAN}, 200),
    "listDecisions": (get("/api/v1/decisions"), {Role.ADMINISTRATOR, Role.CLINICIAN, Role.DESK}, 200),
    "getStatus": (get("/api/v1/status"), {Role.ADMINISTRATOR, Role.MONITOR}, 200),
    "getMetrics": (get("/metrics"), {Role.ADMINISTRATOR, Role.MONITOR}, 200),
}
"""Every operation but those of `OPEN_PATHS`: how to ask for it, for whom it is, and what they are answered."""


def test_the_table_has_every_operation(a: Hospital) -> None:
    paths = a.clinician.get("/openapi.json").json()["paths"]
    described = {
        operation["operationId"]
        for path, item in paths.items()
        if path not in OPEN_PATHS
        for operation in item.values()
    }

    assert described == set(OPERATIONS)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", OPERATIONS)
def test_roles(a: Hospital, name: str, role: Role) -> None:
    operation, roles, status = OPERATIONS[name]
    response = operation(a.client(role))
    if role in roles:
        assert response.status_code == status
    else:
        assert is_problem(response, 403, "not-permitted")


@pytest.mark.parametrize("name", OPERATIONS)
def test_without_a_token(served: Served, name: str) -> None:
    with served.client() as client:
        response = OPERATIONS[name][0](client)

    assert is_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == 'Bearer realm="gateway"'


@pytest.mark.parametrize("name", OPERATIONS)
def test_tokens_not_in_force(served: Served, a: Hospital, name: str) -> None:
    """Unknown, tampered with, revoked, expired: one answer for all."""
    operation, roles, _ = OPERATIONS[name]
    role = next(iter(roles))
    _, good = served.node.token(a.oid, role)
    revoked_id, revoked = served.node.token(a.oid, role)
    served.node.writer.write(lambda session: revoke_token(session, revoked_id, utc_now()))
    _, expired = served.node.token(a.oid, role, utc_now() - timedelta(seconds=1))
    flipped = good[:-1] + ("0" if good[-1] != "0" else "1")
    answers = []
    for token in ("x", "exg__", f"exg_{'0' * 32}_{'0' * 64}", flipped, revoked, expired, good + "0" * 300):
        with served.client(token) as client:
            answers.append(operation(client))

    assert all(is_problem(answer, 401, "unauthenticated") for answer in answers)
    assert len({answer.content for answer in answers}) == 1
    with served.client(good) as client:
        assert operation(client).status_code == OPERATIONS[name][2]


@pytest.mark.parametrize("value", ["", "Bearer", "Basic {}", "{}", "Token {}", "Bearer {} x", "Bearer {},{}"])
def test_other_ways_to_say_it(served: Served, a: Hospital, value: str) -> None:
    _, token = served.node.token(a.oid, Role.CLINICIAN)
    with served.client() as client:
        response = client.get(documents_of(STUDY), headers={"Authorization": value.replace("{}", token)})

    assert is_problem(response, 401, "unauthenticated")


def test_the_scheme_is_not_case_sensitive_and_two_tokens_are_none(served: Served, a: Hospital) -> None:
    _, token = served.node.token(a.oid, Role.CLINICIAN)
    with served.client() as client:
        one = client.get(documents_of(STUDY), headers={"Authorization": f"bEARER {token}"})
        two = client.get(documents_of(STUDY), headers=[("Authorization", f"Bearer {token}")] * 2)

    assert one.status_code == 200
    assert is_problem(two, 401, "unauthenticated")


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/redoc", "/nothing", "/livez/", "//livez", "/api/v1", "/openapi.json", "/openapi.json/"]
)
def test_any_other_path_needs_a_token_too(served: Served, path: str) -> None:
    with served.client() as client:
        assert client.get(path).status_code == 401


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
def test_what_is_open_tells_nothing(served: Served, path: str) -> None:
    with served.client() as client:
        response = client.get(path)

    assert response.status_code == 200
    assert response.json() == {"status": "ok"}


def test_a_revoked_token_ends_at_once(served: Served, a: Hospital) -> None:
    token_id, token = served.node.token(a.oid, Role.CLINICIAN)
    with served.client(token) as client:
        assert client.get(documents_of(STUDY)).status_code == 200
        served.node.writer.write(lambda session: revoke_token(session, token_id, utc_now()))
        assert client.get(documents_of(STUDY)).status_code == 401


def test_a_token_is_of_one_institution(a: Hospital, b: Hospital) -> None:
    """Without consent, what A keeps is not there for B, whatever B's role."""
    path = a.attached(new_uid(), patient_id=new_patient_id())

    for role in Role:
        assert b.client(role).get(path).status_code in (403, 404)
    assert a.clinician.get(path).status_code == 200
