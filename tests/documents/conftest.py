"""A node for each module of tests; what one test registers, no other uses."""

from collections.abc import Iterator

import pytest

from gateway.consent.forms import FormKind
from gateway.domain.access import Caller
from gateway.domain.person import PatientKey
from tests.documents.node import Node, clinician, new_patient_id, running_node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running_node(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
def a(node: Node) -> Caller:
    """A clinician of hospital A."""
    return clinician(node.institution())


@pytest.fixture
def b(node: Node) -> Caller:
    """A clinician of hospital B."""
    return clinician(node.institution())


@pytest.fixture
def patient(a: Caller) -> PatientKey:
    """A patient of hospital A, without consent."""
    return PatientKey(a.institution_oid, new_patient_id())


@pytest.fixture
def consenting(node: Node, patient: PatientKey) -> PatientKey:
    """The same patient, who has consented."""
    node.register(patient, FormKind.ENTIRE_CONSENT)
    return patient
