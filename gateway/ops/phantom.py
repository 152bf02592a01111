"""A CT series of a head that nobody has: complete DICOM instances, generated in order, the same for the same seed.

For demonstrations, tests and measurements where no real images are at hand. The attributes are those of the
CT Image IOD (PS3.3 §A.3); the patient's name is the example name of PS3.5 Annex I, in its three component
groups.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from gateway.errors import InputError
from gateway.ops.anatomy import CENTRE_MM, FIELD_OF_VIEW_MM, HIGHEST_MM, LOWEST_MM, OUTSIDE_HU, Head
from gateway.wire.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

KOREAN = ["", "ISO 2022 IR 149"]
"""Specific Character Set: ASCII, and KS X 1001 after an escape sequence (PS3.5 §6.1.2.5)."""
SIZE_PIXELS = range(2, 4097)
"""Rows or columns: two to have a distance between them; 4096 take 32 MiB for each slice."""
BITS_STORED = 12
FIRST_STUDY_DATE = date(2025, 3, 3)
"""Of study number 1; the others follow a week apart, so that nothing depends on the day of the run."""

_NAMESPACE = uuid.UUID("0f4f5be2-6d0e-4d0c-9a3e-4f2c5f0b6a71")


@dataclass(frozen=True, slots=True)
class CtHead:
    """Which series to generate: how many instances of how many pixels, of whose head, in which study.

    However many they are, the instances cover the whole head. The anatomy belongs to seed, institution and
    patient, so a second study of a patient shows the same head. Studies that differ in one of these or in
    their number have no UID in common, and neither have series of different size.
    """

    instances: int = 200
    rows: int = 512
    columns: int = 512
    seed: int = 1
    institution_name: str = "Hospital A"
    patient_id: str = "00012345"
    study_number: int = 1
    patient_name: str = "Hong^Gildong=洪^吉洞=홍^길동"
    patient_birth_date: date = date(1970, 1, 1)
    patient_sex: str = "M"
    issuer_of_patient_id: str = ""
    accession_number: str = ""
    referring_physician_name: str = "Kim^Cheolsu=金^哲洙=김^철수"
    requesting_service: str = "신경과"

    def __post_init__(self) -> None:
        if self.instances < 1 or self.study_number < 1:
            raise InputError("generated series: expected at least one instance, and a study number from 1")
        if self.rows not in SIZE_PIXELS or self.columns not in SIZE_PIXELS:
            raise InputError(f"generated series: expected {SIZE_PIXELS.start} to {SIZE_PIXELS[-1]} rows and columns")

    @property
    def study_date(self) -> date:
        return FIRST_STUDY_DATE + timedelta(weeks=self.study_number - 1)

    @property
    def spacing_mm(self) -> float:
        """Between the centres of neighbouring slices, which are as thick."""
        return round((HIGHEST_MM - LOWEST_MM) / self.instances, 3)

    @property
    def study_instance_uid(self) -> UID:
        return _uid(self._study)

    @property
    def series_instance_uid(self) -> UID:
        return self.uid("series")

    def uid(self, what: str) -> UID:
        """The UID of something in this series."""
        return _uid(f"{self._study}/{self.instances}/{self.rows}/{self.columns}/{what}")

    @property
    def anatomy_seed(self) -> int:
        return uuid.uuid5(_NAMESPACE, self._patient).int

    @property
    def _patient(self) -> str:
        return f"{self.seed}/{self.institution_name}/{self.patient_id}"

    @property
    def _study(self) -> str:
        return f"{self._patient}/{self.study_number}"


def _uid(name: str) -> UID:
    """A name-based UUID as a UID (PS3.5 §B.2)."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, name).int}")


def ct_head_series(series: CtHead = CtHead()) -> Iterator[Dataset]:
    """The instances of a series one by one, each made when it is asked for; from the jaw upwards.

    Each has its file meta information, so that `save_as(path, enforce_file_format=True)` writes a file of
    PS3.10.
    """
    head = Head(series.anatomy_seed, series.rows, series.columns)
    for number in range(1, series.instances + 1):
        yield _instance(series, head, number)


def ct_head_files(series: CtHead = CtHead()) -> Iterator[bytes]:
    """The same instances as DICOM files (PS3.10)."""
    for instance in ct_head_series(series):
        file = BytesIO()
        instance.save_as(file, enforce_file_format=True)
        yield file.getvalue()


def write_series(directory: Path, series: CtHead = CtHead()) -> list[Path]:
    """Write the files of a series into a folder, which is made if need be; their paths, in order."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, file in enumerate(ct_head_files(series), start=1):
        path = directory / f"CT{number:04}.dcm"
        path.write_bytes(file)
        paths.append(path)
    return paths


def _instance(series: CtHead, head: Head, number: int) -> Dataset:
    instance = Dataset()
    instance.SpecificCharacterSet = KOREAN
    _add_patient_and_study(instance, series)
    _add_series_and_equipment(instance, series)
    _add_acquisition(instance, series, number)
    _add_image(instance, series, head, number)
    instance.SOPClassUID = CTImageStorage
    instance.SOPInstanceUID = series.uid(f"instance {number}")
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = instance.SOPClassUID
    meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    instance.file_meta = meta
    return instance


def _add_patient_and_study(instance: Dataset, series: CtHead) -> None:
    """Patient, General Study and Patient Study modules (PS3.3 §C.7.1.1, §C.7.2.1, §C.7.2.2)."""
    instance.PatientName = series.patient_name
    instance.PatientID = series.patient_id
    if series.issuer_of_patient_id:
        instance.IssuerOfPatientID = series.issuer_of_patient_id
    instance.PatientBirthDate = _da(series.patient_birth_date)
    instance.PatientSex = series.patient_sex
    instance.PatientAge = f"{_years(series.patient_birth_date, series.study_date):03}Y"
    instance.StudyInstanceUID = series.study_instance_uid
    instance.StudyDate = _da(series.study_date)
    instance.StudyTime = "101500"
    instance.StudyID = str(series.study_number)
    instance.AccessionNumber = series.accession_number or f"A{series.seed:04}{series.study_number:04}"
    instance.StudyDescription = "Brain CT"
    instance.ReferringPhysicianName = series.referring_physician_name
    instance.RequestingService = series.requesting_service  # not of this IOD, but what archives add to it


def _add_series_and_equipment(instance: Dataset, series: CtHead) -> None:
    """General Series, Frame of Reference and General Equipment modules (PS3.3 §C.7.3.1, §C.7.4.1, §C.7.5.1)."""
    instance.Modality = "CT"
    instance.SeriesInstanceUID = series.series_instance_uid
    instance.SeriesNumber = 2
    instance.SeriesDate = _da(series.study_date)
    instance.SeriesTime = "101600"
    instance.SeriesDescription = "Head without contrast"
    instance.ProtocolName = "Head routine"
    instance.BodyPartExamined = "HEAD"
    instance.PatientPosition = "HFS"
    instance.FrameOfReferenceUID = series.uid("frame of reference")
    instance.PositionReferenceIndicator = "OM"
    instance.Manufacturer = "Imaging exchange gateway"
    instance.ManufacturerModelName = "Generated head"
    instance.InstitutionName = series.institution_name
    instance.StationName = "CT1"
    instance.SoftwareVersions = IMPLEMENTATION_VERSION_NAME


def _add_acquisition(instance: Dataset, series: CtHead, number: int) -> None:
    """General Image and CT Image modules, as far as they are about the scan (PS3.3 §C.7.6.1, §C.8.2.1)."""
    second = f"{1600 + (number - 1) * 40 // series.instances:04}"
    instance.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    instance.InstanceNumber = number
    instance.AcquisitionNumber = 1
    instance.AcquisitionDate = instance.ContentDate = _da(series.study_date)
    instance.AcquisitionTime = instance.ContentTime = f"10{second}"
    instance.ImageComments = "Generated image, no patient"
    instance.ScanOptions = "HELICAL MODE"
    instance.KVP = 120
    instance.XRayTubeCurrent = 250
    instance.ExposureTime = 1000
    instance.Exposure = 250
    instance.FilterType = "HEAD FILTER"
    instance.GantryDetectorTilt = 0
    instance.TableHeight = 150
    instance.RotationDirection = "CW"
    instance.DataCollectionDiameter = FIELD_OF_VIEW_MM
    instance.ReconstructionDiameter = FIELD_OF_VIEW_MM
    instance.ConvolutionKernel = "SOFT"


def _add_image(instance: Dataset, series: CtHead, head: Head, number: int) -> None:
    """Image Plane, Image Pixel, CT Image and VOI LUT modules (PS3.3 §C.7.6.2, §C.7.6.3, §C.8.2.1, §C.11.2)."""
    z_mm = round(LOWEST_MM + (number - 0.5) * series.spacing_mm, 3)
    half_width, half_height = ((count - 1) / 2 * head.pixel_mm for count in (series.columns, series.rows))
    instance.PixelSpacing = [head.pixel_mm, head.pixel_mm]
    instance.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    instance.ImagePositionPatient = [round(CENTRE_MM[0] - half_width, 6), round(CENTRE_MM[1] - half_height, 6), z_mm]
    instance.SliceThickness = series.spacing_mm
    instance.SpacingBetweenSlices = series.spacing_mm
    instance.SliceLocation = z_mm
    instance.SamplesPerPixel = 1
    instance.PhotometricInterpretation = "MONOCHROME2"
    instance.Rows, instance.Columns = series.rows, series.columns
    instance.BitsAllocated, instance.BitsStored, instance.HighBit = 16, BITS_STORED, BITS_STORED - 1
    instance.PixelRepresentation = 0
    instance.RescaleIntercept, instance.RescaleSlope = OUTSIDE_HU, 1
    instance.RescaleType = "HU"
    instance.WindowCenter, instance.WindowWidth = [40, 500], [80, 2500]
    instance.WindowCenterWidthExplanation = ["BRAIN", "BONE"]
    stored = (head.slice_hu(z_mm, series.study_number * series.instances + number) - OUTSIDE_HU).astype("<u2")
    instance.PixelData = stored.tobytes()


def _da(day: date) -> str:
    """As the value representation DA (PS3.5 §6.2)."""
    return day.strftime("%Y%m%d")


def _years(born: date, day: date) -> int:
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))
