"""The generated head: complete and consistent as DICOM, plausible as anatomy, the same for the same seed."""

import io
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from gateway.errors import InputError
from gateway.ops.counterparts import run_tool
from gateway.ops.phantom import CtHead, ct_head_files, ct_head_series, write_series

ESCAPE = b"\x1b$)C"
TYPE_1 = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPClassUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "ImageType",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "RescaleIntercept",
    "RescaleSlope",
    "PatientPosition",
    "SpecificCharacterSet",
)
TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "SeriesNumber",
    "PositionReferenceIndicator",
    "Manufacturer",
    "InstanceNumber",
    "SliceThickness",
    "KVP",
    "AcquisitionNumber",
)
"""PS3.3 §A.3: what each module of the CT Image IOD demands."""


def in_hu(instance: Dataset) -> np.ndarray:
    return instance.pixel_array.astype(int) * int(instance.RescaleSlope) + int(instance.RescaleIntercept)


@pytest.fixture(scope="module")
def head() -> list[Dataset]:
    """Eighteen slices of 256 by 256, read back from their files, from the jaw to the vertex."""
    files = ct_head_files(CtHead(instances=18, rows=256, columns=256))
    return [pydicom.dcmread(io.BytesIO(file)) for file in files]


def test_every_attribute_of_type_1_and_2_is_there(head: list[Dataset]) -> None:
    for instance in head:
        assert [name for name in TYPE_1 if not instance.get(name) and instance.get(name) != 0] == []
        assert [name for name in TYPE_2 if name not in instance] == []
        assert instance.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert instance.file_meta.MediaStorageSOPClassUID == instance.SOPClassUID == CTImageStorage
        assert instance.file_meta.MediaStorageSOPInstanceUID == instance.SOPInstanceUID
        assert (instance.BitsAllocated, instance.BitsStored, instance.HighBit) == (16, 12, 11)


def test_the_series_is_one_and_its_slices_follow_each_other(head: list[Dataset]) -> None:
    for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "AccessionNumber"):
        assert len({str(instance[name].value) for instance in head}) == 1
    assert len({instance.SOPInstanceUID for instance in head}) == len(head)
    assert [instance.InstanceNumber for instance in head] == list(range(1, len(head) + 1))
    for lower, upper in pairwise(head):
        step = upper.ImagePositionPatient[2] - lower.ImagePositionPatient[2]
        assert step == pytest.approx(upper.SpacingBetweenSlices, abs=0.002)
        assert upper.SliceLocation == upper.ImagePositionPatient[2]


def test_uids_are_valid_and_under_2_25(head: list[Dataset]) -> None:
    for instance in head:
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"):
            uid = instance[name].value
            assert uid.is_valid
            assert uid.startswith("2.25.")


def test_the_name_is_encoded_as_in_the_standards_example(head: list[Dataset]) -> None:
    name = head[0].PatientName

    assert (name.alphabetic, name.ideographic, name.phonetic) == ("Hong^Gildong", "洪^吉洞", "홍^길동")
    assert str(head[0].RequestingService) == "신경과"
    # PS3.5 §I.2, example 2: the escape sequence again after each delimiter
    family, given_name = ESCAPE + bytes.fromhex("fbf3"), ESCAPE + bytes.fromhex("d1ced4d7")
    korean = ESCAPE + bytes.fromhex("c8ab") + b"^" + ESCAPE + bytes.fromhex("b1e6b5bf")
    encoded = next(ct_head_files(CtHead(instances=1, rows=16, columns=16)))
    assert b"Hong^Gildong=" + family + b"^" + given_name + b"=" + korean in encoded


@pytest.mark.needs("dcmtk")
def test_dcmtk_reads_the_korean_name(tmp_path: Path) -> None:
    [path] = write_series(tmp_path, CtHead(instances=1, rows=16, columns=16))

    dump = run_tool("dcmdump", "+U8", "+P", "PatientName", "+P", "RequestingService", path)

    assert "Hong^Gildong=洪^吉洞=홍^길동" in dump.stdout, dump.stderr
    assert "신경과" in dump.stdout


def test_tissues_have_their_hounsfield_units(head: list[Dataset]) -> None:
    middle = in_hu(head[10])  # through the lateral ventricles
    rows, columns = np.indices(middle.shape)
    outside = np.hypot(rows - 127.5, columns - 127.5) > 128
    brain = middle[110:150, 150:165]

    assert (middle[outside] == -1024).all()
    assert -1010 < middle[:10, 120:136].mean() < -990
    assert 25 < brain.mean() < 45
    assert 2 < brain.std() < 12
    assert middle.max() > 1000
    assert middle.min() >= -1024


def test_the_head_has_the_parts_of_a_head(head: list[Dataset]) -> None:
    volume = np.stack([in_hu(instance) for instance in head])
    spacing = float(head[0].PixelSpacing[0])
    tissue = volume > -300
    bone = (volume > 300).sum(axis=(1, 2)) * spacing**2
    wide = tissue[10][128].sum() * spacing
    long = tissue[10][:240, 128].sum() * spacing  # the head rest is below
    air_inside = volume[3:7, 60:140, 90:166] < -800

    assert 140 < wide < 170
    assert 170 < long < 215
    assert bone[:-2].min() > 300  # mm²: bone everywhere but above the vertex
    assert bone[-1] == 0
    assert air_inside.mean() > 0.05  # nose and sinuses
    assert (volume[:4] > 2000).any()  # teeth
    assert not (volume[8:] > 2000).any()


def test_every_slice_differs_from_the_next(head: list[Dataset]) -> None:
    for lower, upper in pairwise(head):
        assert lower.PixelData != upper.PixelData


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, again = (list(ct_head_files(CtHead(instances=2, rows=64, columns=64))) for _ in range(2))

    assert first == again


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"patient_id": "P2"}, {"study_number": 2}, {"institution_name": "Hospital B"}]
)
def test_another_study_shares_no_uid(change: dict[str, str | int]) -> None:
    def uids(study: CtHead) -> set[str]:
        [instance] = ct_head_series(replace(study, instances=1, rows=32, columns=32))
        return {element.value for element in instance if element.VR == "UI" and element.keyword != "SOPClassUID"}

    mine, others = uids(CtHead()), uids(replace(CtHead(), **change))  # type: ignore[arg-type]

    assert len(mine) == len(others) == 4
    assert mine.isdisjoint(others)


def test_the_second_study_of_a_patient_shows_the_same_head_a_week_later() -> None:
    first = next(ct_head_series(CtHead(instances=2, rows=64, columns=64)))
    second = next(ct_head_series(CtHead(study_number=2, instances=2, rows=64, columns=64)))
    other = next(ct_head_series(CtHead(patient_id="P2", instances=2, rows=64, columns=64)))

    assert first.PatientID == second.PatientID
    assert first.AccessionNumber != second.AccessionNumber
    assert second.StudyDate == "20250310"
    assert first.PixelData != second.PixelData
    assert np.abs(in_hu(first) - in_hu(second)).mean() * 2 < np.abs(in_hu(first) - in_hu(other)).mean()


def test_size_is_part_of_the_identity() -> None:
    sizes = ((1, 32, 32), (2, 32, 32), (1, 16, 32), (1, 32, 16))
    uids = {
        next(ct_head_series(CtHead(instances=count, rows=rows, columns=columns))).SOPInstanceUID
        for count, rows, columns in sizes
    }

    assert len(uids) == len(sizes)


def test_what_is_given_is_what_is_written() -> None:
    study = CtHead(
        patient_name="Lee^Younghee=李^英姬=이^영희",
        patient_birth_date=date(1985, 3, 4),
        patient_sex="F",
        issuer_of_patient_id="가나병원",
        accession_number="ACC7",
        institution_name="가나병원",
        referring_physician_name="Park",
        requesting_service="응급의학과",
    )
    instance = pydicom.dcmread(io.BytesIO(next(ct_head_files(replace(study, instances=1, rows=16, columns=16)))))

    assert str(instance.PatientName) == study.patient_name
    assert (instance.PatientBirthDate, instance.PatientAge, instance.PatientSex) == ("19850304", "039Y", "F")
    assert (instance.IssuerOfPatientID, instance.InstitutionName) == ("가나병원", "가나병원")
    assert (instance.AccessionNumber, instance.RequestingService) == ("ACC7", "응급의학과")


@given(st.dates(date(1900, 1, 1), date(2025, 3, 3)))
def test_age_is_that_on_the_day_of_the_study(born: date) -> None:
    [instance] = ct_head_series(CtHead(patient_birth_date=born, instances=1, rows=8, columns=8))
    day = date(2025, 3, 3)

    assert instance.PatientAge == f"{day.year - born.year - ((day.month, day.day) < (born.month, born.day)):03}Y"


def test_files_are_written_in_order_into_a_new_folder(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "new" / "series", CtHead(instances=3, rows=32, columns=32))

    assert [path.name for path in paths] == ["CT0001.dcm", "CT0002.dcm", "CT0003.dcm"]
    assert [pydicom.dcmread(path).InstanceNumber for path in paths] == [1, 2, 3]


@pytest.mark.bench
def test_speed(benchmark) -> None:  # type: ignore[no-untyped-def]
    """One slice of full size."""
    slices = ct_head_files(CtHead(instances=200))
    benchmark.pedantic(lambda: next(slices), rounds=40, warmup_rounds=1)


@pytest.mark.parametrize("wrong", [{"instances": 0}, {"rows": 1}, {"columns": 5000}, {"study_number": 0}])
def test_what_cannot_be_generated(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="generated series: expected"):
        CtHead(**wrong)
