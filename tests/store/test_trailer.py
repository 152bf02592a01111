"""Trailers explain themselves, and only those of a known version."""

import json
from dataclasses import replace
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.decision import Decision, Outcome, Purpose, Reason, Verdict
from gateway.domain.instance import InstanceHead
from gateway.domain.person import PatientKey
from gateway.domain.transfer import Arrival, Plan, PlannedDestination, SpoolRecord
from gateway.errors import InputError, SpoolCorrupt
from gateway.store.trailer import decode_trailer, encode_trailer
from tests.build import HOSPITAL_A, record

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ids = st.text("0123456789abcdef", min_size=32, max_size=32)
uids = st.lists(st.integers(0, 10**9).map(str), min_size=2, max_size=6).map(".".join)
moments = st.datetimes(timezones=st.just(UTC))


def patients() -> st.SearchStrategy[PatientKey]:
    def key(patient_id: str) -> PatientKey | None:
        try:
            return PatientKey(HOSPITAL_A, patient_id)
        except InputError:
            return None

    return st.text(min_size=1, max_size=64).map(key).filter(lambda made: made is not None)  # type: ignore[return-value]


verdicts = st.builds(Verdict, st.sampled_from(Outcome), st.sampled_from(Reason), st.lists(ids, max_size=3).map(tuple))
decisions = st.builds(
    Decision, ids, moments, uids, uids, uids, verdicts, st.integers(0, 2**62), st.sampled_from(Purpose)
)
records = st.builds(
    SpoolRecord,
    record_id=ids,
    head=st.builds(InstanceHead, uids, uids, uids, uids, uids, patients(), texts, texts),
    data_bytes=st.integers(0, 2**62),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    received_at=moments,
    arrival=st.builds(Arrival, texts, texts, texts, uids, ids),
    plan=st.lists(st.builds(PlannedDestination, texts, texts, decisions), max_size=4).map(
        lambda destinations: Plan(tuple(destinations))
    ),
    xxh3_128=st.none() | ids,
)


@given(records)
def test_record_comes_back_as_it_was(made: SpoolRecord) -> None:
    assert decode_trailer(encode_trailer(made)) == made


@given(records)
def test_trailer_can_be_read_by_people(made: SpoolRecord) -> None:
    fields = json.loads(encode_trailer(made))

    assert fields["version"] == 1
    assert fields["head"]["patient_id"] == made.head.patient.patient_id
    assert fields["sha256"] == made.sha256


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | texts, st.lists).map(
    lambda value: json.dumps(value).encode()
))  # fmt: skip
def test_what_is_no_trailer_is_corrupt(data: bytes) -> None:
    with pytest.raises(SpoolCorrupt):
        decode_trailer(data)


def changed(**changes: object) -> bytes:
    fields = json.loads(encode_trailer(record()))
    return json.dumps({**fields, **changes}).encode()


def test_trailer_of_before_the_check_value_is_understood() -> None:
    made = record(xxh3_128="3" * 32)
    fields = json.loads(encode_trailer(made))
    del fields["xxh3_128"]

    assert decode_trailer(json.dumps(fields).encode()) == replace(made, xxh3_128=None)


def test_unchanged_trailer_is_understood() -> None:
    assert decode_trailer(changed()).head.modality == "CT"


@pytest.mark.parametrize(
    "changes",
    [
        {"head": {}},
        {"head": None},
        {"head": []},
        {"head": {"more": 1}},
        {"arrival": {}},
        {"plan": None},
        {"plan": [{}]},
        {"plan": 7},
        {"received_at": "yesterday"},
        {"received_at": 7},
    ],
)
def test_trailer_with_other_fields_is_corrupt(changes: dict[str, object]) -> None:
    with pytest.raises(SpoolCorrupt):
        decode_trailer(changed(**changes))


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_trailer_of_another_version_says_so(version: object) -> None:
    with pytest.raises(SpoolCorrupt, match="version"):
        decode_trailer(changed(version=version))


def test_errors_hold_no_patient_data() -> None:
    broken = changed(head={"patient_id": "SECRET", "issuer_oid": HOSPITAL_A})

    with pytest.raises(SpoolCorrupt) as raised:
        decode_trailer(broken)

    assert "SECRET" not in str(raised.value)
