"""UIDs are those of PS3.6, and are told from what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import config
from pydicom.uid import UID

from gateway.wire import uids
from tests.wire import strategies

STANDARD = {
    name: value
    for name, value in vars(uids).items()
    if isinstance(value, str) and value.startswith("1.2.840.10008.") and not value.endswith(".")
}


@pytest.mark.parametrize("name", sorted(STANDARD))
def test_constants_name_what_the_standard_registers(name: str) -> None:
    assert UID(STANDARD[name]).keyword.lower().removeprefix("dicom") == name.lower().replace("_", "")


def test_own_uid_is_valid_and_the_version_name_short_enough() -> None:
    assert UID(uids.IMPLEMENTATION_CLASS_UID).is_valid
    assert uids.is_valid_uid(uids.IMPLEMENTATION_CLASS_UID)
    assert len(uids.IMPLEMENTATION_VERSION_NAME) <= 16


@given(strategies.uids | st.text("0123456789.", max_size=70) | st.text(max_size=10))
def test_validity_is_that_of_pydicom(text: str) -> None:
    is_valid = UID(text, validation_mode=config.IGNORE).is_valid

    assert uids.is_valid_uid(text) == (is_valid and "." in text and not text.endswith("\n"))


@pytest.mark.parametrize("text", ["", ".", "1..2", "1.2.", ".1", "1.2\n", "../1", "1.2/3", "1.２", "1" * 65, "1.2 "])
def test_text_with_other_characters_is_no_uid(text: str) -> None:
    assert not uids.is_uid_text(text)
    assert not uids.is_valid_uid(text)


def test_leading_zeros_are_passed_on_but_not_valid() -> None:
    assert uids.is_uid_text("1.2.03")
    assert not uids.is_valid_uid("1.2.03")
