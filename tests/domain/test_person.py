"""Patient identifiers and what must never be one."""

from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.person import PATIENT_ID_LIMIT_CHARACTERS, PatientKey, holds_resident_number
from gateway.errors import InputError
from tests.build import HOSPITAL_A, HOSPITAL_B

birth_dates = st.dates().map(lambda day: f"{day:%y%m%d}")
serials = st.integers(0, 9_999_999).map(lambda number: f"{number:07}")
separators = st.sampled_from(["", "-", " ", "\t", " - ", "–", "‐", "−", "\u2011", "\u00ad"])
surroundings = st.text(max_size=8).filter(lambda text: not any(map(str.isdigit, normalize("NFKC", text))))


@given(birth_dates, separators, serials, surroundings, surroundings)
def test_resident_number_is_found_in_any_text(
    birth_date: str, separator: str, serial: str, before: str, after: str
) -> None:
    assert holds_resident_number(f"{before}{birth_date}{separator}{serial}{after}")


@pytest.mark.parametrize(
    "text",
    [
        "900101-1234567",
        "9001011234567",
        "주민번호 900101-1234567 입니다",
        "referral_9001011234567.pdf",
        "000229-3000000",
        "９００１０１－１２３４５６７",
        "(900101-1234567)",
    ],
)
def test_resident_number(text: str) -> None:
    assert holds_resident_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A-1001",
        "12345678",
        "901301-1234567",  # no thirteenth month
        "900132-1234567",  # no 32nd day
        "900101-123456",  # a digit too few
        "19900101-1234567",  # a digit too many
        "900101-12345678",
        "20260302123456",
        "010-1234-5678",
    ],
)
def test_no_resident_number(text: str) -> None:
    assert not holds_resident_number(text)


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.113619.2.55.3.604688119.868.1249343483.504",
        "1.3.6.1.4.1.14519.5.2.1.7695.4001.130563880911723253267280582465",
        "1.3.12.2.1107.5.1.4.1001.30000013092306184375000002134",
        "2.25.329800735698586629295641978511506172918",
        "1.2.410.100110.10.12345678",
    ],
)
def test_uids_of_real_devices_are_no_alarm(uid: str) -> None:
    assert not holds_resident_number(uid)


@pytest.mark.parametrize(
    "patient_id",
    ["A-1001", "1", "x" * PATIENT_ID_LIMIT_CHARACTERS, "홍길동-7", "12 34", "MRN/0042", "a.b:c", "00012345"],
)
def test_patient_ids_are_kept_as_they_are(patient_id: str) -> None:
    assert PatientKey(HOSPITAL_A, patient_id).patient_id == patient_id


@pytest.mark.parametrize(
    ("patient_id", "complaint"),
    [
        ("", "1 to 64"),
        ("   ", "1 to 64"),
        ("x" * (PATIENT_ID_LIMIT_CHARACTERS + 1), "1 to 64"),
        (" A-1", "spaces"),
        ("A-1 ", "spaces"),
        ("A\\1", "backslash"),
        ("A\x00", "control"),
        ("A\n1", "control"),
        ("A\u202e1", "control"),
        ("900101-1234567", "resident"),
        ("P9001011234567", "resident"),
    ],
)
def test_patient_ids_that_are_none(patient_id: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as raised:
        PatientKey(HOSPITAL_A, patient_id)

    assert patient_id.strip() not in str(raised.value) or not patient_id.strip()


def test_same_patient_id_of_two_institutions_is_two_patients() -> None:
    assert PatientKey(HOSPITAL_A, "1") != PatientKey(HOSPITAL_B, "1")
    assert PatientKey(HOSPITAL_A, "1") == PatientKey(HOSPITAL_A, "1")
