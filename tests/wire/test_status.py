"""Status codes agree with pynetdicom's tables."""

import pytest
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS, code_to_category

from gateway.wire import status
from gateway.wire.status import StatusCategory


def test_storage_statuses_have_the_category_of_the_standard() -> None:
    ours = {code: status.category(code).name for code in STORAGE_SERVICE_CLASS_STATUS}

    assert ours == {code: entry[0].upper() for code, entry in STORAGE_SERVICE_CLASS_STATUS.items()}


@pytest.mark.parametrize(
    "code", [status.SUCCESS, status.CANCEL, status.PENDING, status.PENDING_WITH_WARNING, 0xB123, 0xA999, 0x0122]
)
def test_other_statuses_have_the_category_of_the_standard(code: int) -> None:
    assert status.category(code).name == code_to_category(code).upper()


def test_every_code_has_a_category_and_words() -> None:
    for code in range(0x10000):
        assert isinstance(status.category(code), StatusCategory)
        assert f"0x{code:04X}" in status.words(code)


def test_words_name_the_status() -> None:
    assert status.words(status.NOT_AUTHORIZED) == "Not authorized (0x0124)"
    assert status.words(0xA7F3) == "Out of resources (0xA7F3)"
    assert status.words(0x0999) == "Failure (0x0999)"
