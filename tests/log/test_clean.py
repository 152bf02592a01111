"""What may be written of a value."""

import math
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import NetworkError, StoreError
from gateway.log.clean import ALLOWED_FIELDS, LONGEST_VALUE, clean_fields, clean_text, clean_value, describe

NAME = "홍길동"
PATIENT_ID = "SNUH-00471189"


class Colour(Enum):
    RED = "value"


def test_fields_that_are_not_on_the_list_are_counted_and_left_out() -> None:
    clean = clean_fields({"peer": "PACS", "patient_name": NAME, "PatientID": PATIENT_ID})
    assert clean == {"peer": "PACS", "dropped_fields": 2}


@pytest.mark.parametrize(
    "name", ["patient", "patient_id", "name", "text", "message", "study_instance_uid", "accession_number", "birth_date"]
)
def test_what_names_a_patient_is_not_on_the_list(name: str) -> None:
    assert name not in ALLOWED_FIELDS


@pytest.mark.parametrize(
    "reserved", ["timestamp", "level", "logger", "event", "location", "dropped_fields", "error_at"]
)
def test_no_field_can_pass_for_what_the_logger_adds(reserved: str) -> None:
    assert clean_fields({reserved: "x"}) == {"dropped_fields": 1}


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        (3, 3),
        (1.5, 1.5),
        (math.inf, None),
        (True, True),
        (None, None),
        (Colour.RED, "RED"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02 00:00:00+00:00"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Path("a/b"), "a/b"),
        ("서울병원", "서울병원"),
        ([NAME], "<list>"),
        ({"name": NAME}, "<dict>"),
        (NAME.encode(), "<bytes>"),
        (ValueError(NAME), "<ValueError>"),
    ],
)
def test_values(value: object, clean: object) -> None:
    assert clean_value(value) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("line\u2028end\u2029", "line\\u2028end\\u2029"),
        ("\ud800", "\\ud800"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
    ],
)
def test_what_is_not_seen_is_escaped(text: str, clean: str) -> None:
    assert clean_text(text) == clean


@pytest.mark.parametrize(
    "number", ["900101-1234567", "9001011234567", "900101 1234567", "251231-4000000", "ID900101-1234567X"]
)
def test_resident_registration_numbers_are_withheld(number: str) -> None:
    assert "1234567" not in clean_text(f"key {number}!")
    assert "<withheld>" in clean_text(f"key {number}!")


@pytest.mark.parametrize("text", ["1.2.840.9001011234567.3", "19001011234567", "901301-1234567", "2026-01-02"])
def test_other_numbers_are_not(text: str) -> None:
    assert clean_text(text) == text


@given(st.text())
def test_every_text_is_one_printable_line(text: str) -> None:
    clean = clean_text(text)
    assert len(clean.splitlines()) <= 1
    clean.encode("utf-8")
    assert all(character.isprintable() or character.isspace() for character in clean)
    assert not set(clean) & set("\n\r\t\x1b\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2028\u2029")


@given(st.text("ab가", min_size=LONGEST_VALUE + 1))
def test_long_texts_are_capped(text: str) -> None:
    assert clean_text(text) == text[:LONGEST_VALUE] + "..."


class TestExceptions:
    def test_of_a_foreign_one_the_class_and_the_place(self) -> None:
        try:
            int(NAME)
        except ValueError as error:
            described = describe(error)
        assert described["error"] == "ValueError"
        assert "test_clean:" in str(described["error_at"])
        assert NAME not in str(described)
        assert "/" not in str(described)

    def test_of_ours_the_message_too(self) -> None:
        assert describe(StoreError("free space is below 2 GiB")) == {
            "error": "StoreError",
            "error_message": "free space is below 2 GiB",
        }

    def test_of_a_cause_only_the_class(self) -> None:
        try:
            try:
                raise KeyError(PATIENT_ID)
            except KeyError as cause:
                raise NetworkError("PACS went away") from cause
        except NetworkError as error:
            described = describe(error)
        assert described["error_cause"] == "KeyError"
        assert PATIENT_ID not in str(described)

    def test_a_suppressed_context_is_not_a_cause(self) -> None:
        def fail() -> None:
            try:
                raise KeyError(PATIENT_ID)
            except KeyError:
                raise NetworkError("PACS went away") from None

        with pytest.raises(NetworkError) as caught:
            fail()
        assert "error_cause" not in describe(caught.value)

    def test_as_error_a_text_is_dropped(self) -> None:
        assert clean_fields({"error": f"cannot read {NAME}"}) == {"dropped_fields": 1}
        assert clean_fields({"error": ValueError(NAME)}) == {"error": "ValueError"}
