"""What is sent: series of fixed seeds, encoded before the clock starts; or a user's own files under new UIDs.

Files of a series differ in their SOP Instance UID, Instance Number and pixels. An object too large for a disk or a
memory is a `StreamedObject`: its bytes are made, the same for the same seed, while they are sent.
"""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from gateway.errors import InputError
from gateway.ops.part10 import Part10File, read_part10
from gateway.ops.phantom import CtHead, ct_head_series
from gateway.ops.series import copies
from gateway.wire.uids import IMPLEMENTATION_CLASS_UID

SEED = 20_250_303
PATIENT_ID = "BENCH0001"
BITS_STORED = 12
DISTINCT_COUNT = 16
"""Different images in a generated series: enough that no cache or codec sees the same one twice in a row."""
HEAD_PIXELS = 512
"""Rows and columns of the generated CT head."""
BLOCK_BYTES = 1 << 20
"""A streamed object is made in pieces of this size: one piece is in memory at a time."""
_UID_DIGITS = 10**37
"""UIDs of the same length, so that one encoded data set becomes the next by putting another in its place."""
_NUMBER = "{:08}"
"""Instance Number (0020,0013) at a fixed length; an IS may have leading zeros (PS3.5 §6.2)."""


class Pixels(Enum):
    """What the pixels look like: compression, and disks that compress, tell the two apart."""

    NOISE = "noise"
    CT = "CT head"


@dataclass(frozen=True, slots=True)
class Workload:
    """A series to generate. `frames` above one is a single streamed object."""

    name: str
    title: str
    instances: int
    rows: int
    columns: int
    pixels: Pixels = Pixels.NOISE
    modality: str = "CT"
    frames: int = 1

    @property
    def is_streamed(self) -> bool:
        return self.frames > 1

    @property
    def pixel_bytes(self) -> int:
        """Of one instance."""
        return 2 * self.rows * self.columns * self.frames

    @property
    def sop_class_uid(self) -> UID:
        if self.is_streamed:
            return EnhancedCTImageStorage
        return MRImageStorage if self.modality == "MR" else CTImageStorage


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("ct", "CT, 500 x 525 kB", 500, HEAD_PIXELS, HEAD_PIXELS, Pixels.CT),
        Workload("mr", "MR, 2000 x 131 kB", 2000, 256, 256, modality="MR"),
        Workload("small", "small, 10000 x 39 kB", 10_000, 139, 138),
        Workload("1gb", "one object of 1 GB", 1, 1000, 1000, frames=500),
        Workload("4gb", "one object of just under 4 GiB", 1, 1024, 1024, frames=2047),
    )
}
"""By name; sizes of references/performance: a CT, an MR, the small images that published figures are made with."""


@dataclass(frozen=True, slots=True)
class SeriesFile:
    """An instance in a file, and the digest its data set must have at the destination."""

    file: Part10File
    sha256: str


@dataclass(frozen=True)
class Series:
    """Instances ready to be sent: all in `folder`, of one patient."""

    name: str
    folder: Path
    files: tuple[SeriesFile, ...]
    patient_ids: frozenset[str]

    @cached_property
    def digests(self) -> dict[str, str]:
        """What the destination must have, by SOP Instance UID."""
        return {entry.file.sop_instance_uid: entry.sha256 for entry in self.files}

    @property
    def data_bytes(self) -> int:
        return sum(entry.file.data_bytes for entry in self.files)

    def first(self, count: int, folder: Path) -> "Series":
        """The first `count` instances, linked into a folder of their own."""
        folder.mkdir(parents=True)
        kept = []
        for entry in self.files[:count]:
            path = folder / entry.file.path.name
            path.hardlink_to(entry.file.path)
            kept.append(SeriesFile(read_part10(path), entry.sha256))
        return Series(self.name, folder, tuple(kept), self.patient_ids)


def generate(workload: Workload, folder: Path, count: int) -> Series:
    """Write `count` instances of a workload as DICOM files (PS3.10)."""
    folder.mkdir(parents=True)
    template = _Template(workload)
    images = list(islice(_images(workload), min(count, DISTINCT_COUNT)))
    for number, image in zip(range(1, count + 1), cycle(images), strict=False):
        (folder / f"{number:05}.dcm").write_bytes(template.head(number) + image)
    return _read(workload.name, folder)


def from_files(source: Path, folder: Path, count: int) -> Series:
    """`count` copies of a user's files, each with a SOP Instance UID of its own.

    Raises:
        InputError: no DICOM files there, or one without a Patient ID, for whom nobody could consent.
    """
    copies(source, folder, count)
    return _read("dicom", folder)


def _read(name: str, folder: Path) -> Series:
    files, patients = [], set()
    for path in sorted(folder.iterdir()):
        file = read_part10(path)
        with path.open("rb") as stream:
            stream.seek(file.data_offset)
            files.append(SeriesFile(file, hashlib.file_digest(stream, "sha256").hexdigest()))
        patients.add(str(pydicom.dcmread(path, specific_tags=["PatientID"], stop_before_pixels=True).PatientID or ""))
    if "" in patients:
        raise InputError("a file has no Patient ID, so nobody could consent for its patient; give it one")
    return Series(name, folder, tuple(files), frozenset(patients))


@dataclass(frozen=True)
class StreamedObject:
    """One multi-frame instance that is nowhere as a whole: its head, then pixels made block by block."""

    workload: Workload

    @cached_property
    def head(self) -> bytes:
        """The data set up to and including the length of its Pixel Data; no preamble, no group 0002."""
        file = _Template(self.workload).head(1)
        return file[_data_offset(file) :]

    @property
    def name(self) -> str:
        return self.workload.name

    @property
    def patient_ids(self) -> frozenset[str]:
        return frozenset({PATIENT_ID})

    @property
    def sop_instance_uid(self) -> str:
        return _instance_uid(self.workload, 1)

    @cached_property
    def digests(self) -> dict[str, str]:
        """What the destination must have. Reads all of it once: ask before the clock starts."""
        digest = hashlib.sha256()
        for block in self.blocks():
            digest.update(block)
        return {self.sop_instance_uid: digest.hexdigest()}

    @property
    def data_bytes(self) -> int:
        return len(self.head) + self.workload.pixel_bytes

    def blocks(self) -> Iterator[memoryview]:
        """The data set in pieces. Each is valid until the next one is asked for."""
        yield memoryview(self.head)
        block = bytearray(np.random.default_rng(SEED).bytes(BLOCK_BYTES))
        left = self.workload.pixel_bytes
        number = 0
        while left:
            block[:8] = number.to_bytes(8, "little")  # no two pieces alike: none can be taken for another
            yield memoryview(block)[: min(left, BLOCK_BYTES)]
            left -= min(left, BLOCK_BYTES)
            number += 1


Source = Series | StreamedObject
"""What a sender sends: named, with the digests it must arrive with, and the patients who consented."""


class _Template:
    """One encoded instance up to its pixels, and the places where its number stands."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        dataset = _dataset(workload)
        file = BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        self._head = file.getvalue()[: -len(dataset.PixelData)]
        self._head = self._head[:-4] + workload.pixel_bytes.to_bytes(4, "little")  # OW: the length is its last field
        self._uid = _instance_uid(workload, 0).encode()
        self._number = _NUMBER.format(0).encode()

    def head(self, number: int) -> bytes:
        """The file of instance `number` up to its pixels."""
        uid, text = _instance_uid(self._workload, number).encode(), _NUMBER.format(number).encode()
        return self._head.replace(self._uid, uid).replace(self._number, text)


def _instance_uid(workload: Workload, number: int) -> str:
    return _uid(f"{workload.name}/{workload.pixel_bytes}/{number}")


def _uid(name: str) -> str:
    """Always 43 characters long: a name-based UUID, brought into a range without leading zeros (PS3.5 §B.2)."""
    return f"2.25.{_UID_DIGITS + uuid.uuid5(uuid.NAMESPACE_OID, f'{SEED}/{name}').int % (9 * _UID_DIGITS)}"


def _dataset(workload: Workload) -> Dataset:
    """A complete instance with two bytes of pixels; their true length is put in afterwards."""
    dataset = Dataset()
    dataset.SOPClassUID = workload.sop_class_uid
    dataset.SOPInstanceUID = UID(_instance_uid(workload, 0))
    dataset.StudyDate, dataset.StudyTime = "20250303", "101500"
    dataset.AccessionNumber = "B0001"
    dataset.Modality = workload.modality
    dataset.Manufacturer = "Imaging exchange gateway"
    dataset.ReferringPhysicianName = ""
    dataset.PatientName, dataset.PatientID = "Bench^Mark", PATIENT_ID
    dataset.PatientBirthDate, dataset.PatientSex = "19700101", "O"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID(_uid(f"{workload.name} study")), UID(_uid(workload.name))
    dataset.StudyID, dataset.SeriesNumber = "1", 1
    dataset.InstanceNumber = _NUMBER.format(0)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.NumberOfFrames = workload.frames
    dataset.Rows, dataset.Columns = workload.rows, workload.columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, BITS_STORED, BITS_STORED - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = b"\0\0"
    dataset["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta = meta
    return dataset


def _data_offset(file: bytes) -> int:
    """Where the data set begins: what the group length (0002,0000), which pydicom has just written, says."""
    preamble_bytes, group_length_bytes = 132, 12
    length_at = preamble_bytes + group_length_bytes - 4
    return preamble_bytes + group_length_bytes + int.from_bytes(file[length_at : length_at + 4], "little")


def _images(workload: Workload) -> Iterator[bytes]:
    match workload.pixels:
        case Pixels.CT:
            series = CtHead(instances=DISTINCT_COUNT, rows=workload.rows, columns=workload.columns)
            for instance in ct_head_series(series):
                yield instance.PixelData
        case Pixels.NOISE:
            generator = np.random.default_rng(SEED)
            while True:
                yield generator.integers(0, 1 << BITS_STORED, workload.rows * workload.columns, "<u2").tobytes()
