"""What is sent can be read by others, is the same for the same seed, and has the digests it is said to have."""

from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.filereader import read_dataset

from gateway.errors import InputError
from gateway.ops.bench.workload import PATIENT_ID, WORKLOADS, StreamedObject, from_files, generate
from tests.ops.files import CT_SMALL, part10_ct

GIB = 1 << 30
PUBLISHED_BYTES = {"ct": 525_000, "mr": 131_000, "small": 39_000}


@pytest.mark.parametrize("name", PUBLISHED_BYTES)
def test_generated_files_are_complete_instances(tmp_path: Path, name: str) -> None:
    workload = WORKLOADS[name]
    series = generate(workload, tmp_path / name, 3)

    datasets = [pydicom.dcmread(path) for path in sorted((tmp_path / name).iterdir())]
    assert [d.SOPInstanceUID for d in datasets] == [e.file.sop_instance_uid for e in series.files]
    assert len({d.SOPInstanceUID for d in datasets}) == 3
    assert all(d.file_meta.MediaStorageSOPInstanceUID == d.SOPInstanceUID for d in datasets)
    assert [int(d.InstanceNumber) for d in datasets] == [1, 2, 3]
    assert {(d.PatientID, d.Modality, d.StudyInstanceUID) for d in datasets} == {
        (PATIENT_ID, workload.modality, datasets[0].StudyInstanceUID)
    }
    assert all(d.pixel_array.shape == (workload.rows, workload.columns) for d in datasets)
    assert len({d.PixelData for d in datasets}) == 3
    assert series.data_bytes / 3 == pytest.approx(PUBLISHED_BYTES[name], rel=0.01)
    assert series.patient_ids == {PATIENT_ID}


def test_digests_are_those_of_the_data_sets(tmp_path: Path) -> None:
    series = generate(WORKLOADS["small"], tmp_path / "small", 2)

    for entry in series.files:
        data = entry.file.path.read_bytes()[entry.file.data_offset :]
        assert data.startswith(b"\x08\x00")
        assert series.digests[entry.file.sop_instance_uid] == sha256(data).hexdigest()


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    one, other = (generate(WORKLOADS["mr"], tmp_path / name, 2) for name in ("one", "other"))

    assert one.digests == other.digests


def test_the_first_few_are_a_series_of_their_own(tmp_path: Path) -> None:
    whole = generate(WORKLOADS["small"], tmp_path / "whole", 5)
    part = whole.first(2, tmp_path / "part")

    assert part.digests == dict(list(whole.digests.items())[:2])
    assert len(list((tmp_path / "part").iterdir())) == 2


def test_a_users_files_are_copied_under_new_uids(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "1.dcm").write_bytes(CT_SMALL.read_bytes())
    series = from_files(tmp_path / "source", tmp_path / "copies", 3)

    assert len(series.digests) == 3
    assert series.patient_ids == {pydicom.dcmread(CT_SMALL).PatientID}


def test_files_for_whom_nobody_could_consent_are_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    part10_ct(tmp_path / "source" / "1.dcm", "")

    with pytest.raises(InputError, match="no Patient ID"):
        from_files(tmp_path / "source", tmp_path / "copies", 1)


def test_a_streamed_object_is_one_complete_instance() -> None:
    streamed = StreamedObject(replace(WORKLOADS["1gb"], rows=64, columns=100, frames=200))
    data = b"".join(map(bytes, streamed.blocks()))

    dataset = read_dataset(BytesIO(data), is_implicit_VR=False, is_little_endian=True)
    assert len(data) == streamed.data_bytes
    assert dataset.NumberOfFrames == 200
    assert len(dataset.PixelData) == 200 * 64 * 100 * 2
    assert dataset.SOPInstanceUID == streamed.sop_instance_uid
    assert streamed.digests == {streamed.sop_instance_uid: sha256(data).hexdigest()}


def test_the_largest_object_is_as_large_as_its_length_field_allows() -> None:
    streamed = StreamedObject(WORKLOADS["4gb"])

    assert 3.9 * GIB < streamed.data_bytes < 4 * GIB
    assert streamed.head.endswith(streamed.workload.pixel_bytes.to_bytes(4, "little"))
