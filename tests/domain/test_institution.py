"""Institutions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.institution import UID_LIMIT_CHARACTERS, Institution, ParticipationState
from gateway.errors import InputError
from gateway.wire.uids import is_valid_uid

components = st.one_of(st.just("0"), st.integers(1, 10**9).map(str))
oids = st.builds(
    lambda root, rest: ".".join([str(root), *rest]), st.integers(0, 2), st.lists(components, min_size=1, max_size=6)
).filter(lambda oid: len(oid) <= UID_LIMIT_CHARACTERS)


@given(oids)
def test_oids_name_institutions(oid: str) -> None:
    assert Institution(oid, "병원").oid == oid


@given(st.text(st.sampled_from("0123.") | st.characters(), max_size=70))
def test_what_is_accepted_could_be_the_root_of_a_uid(text: str) -> None:
    try:
        accepted = Institution(text, "병원").oid
    except InputError:
        return
    assert is_valid_uid(accepted)


@pytest.mark.parametrize(
    "oid",
    ["", "1", "3.1", "1.", ".1", "1..2", "1.02", "1.2 ", "1.2\n", "1.2.x", "１.２", "1." + "1" * 63],
)
def test_oids_that_are_none(oid: str) -> None:
    with pytest.raises(InputError, match="institution oid"):
        Institution(oid, "병원")


@pytest.mark.parametrize("name", ["", "  ", "A\x1b[31m", "A\nB", "A\x00"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InputError, match="institution name"):
        Institution("1.2", name)


def test_institution_operates_unless_said_otherwise() -> None:
    assert Institution("1.2", "병원").state is ParticipationState.OPERATING
