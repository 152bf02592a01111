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

from gateway.ops.anatomy import CENTRE_MM, FIELD_OF_VIEW_MM, HIGHEST_MM, LOWEST_MM, OUTSIDE_HU, Head
from gateway.wire.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

KOREAN = ["", "ISO 2022 IR 149"]
"""Specific Character Set: ASCII, and KS X 1001 after an escape sequence (PS3.5 §6.1.2.5)."""
BITS_STORED = 12
FIRST_STUDY_DATE = date(2025, 3, 3)
"""Of study number 1; the others follow a week apart, so that nothing depends on the day of the run."""

_NAMESPACE = uuid.UUID("0f4f5be2-6d0e-4d0c-9a3e-4f2c5f0b6a71")


@dataclass(frozen=True, slots=True)
class HeadStudy:
    """Whose study it is and which. Two that differ in one of the first four fields have no UID in common.

    The anatomy belongs to seed, institution and patient, so a second study of a patient shows the same head.
    """

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

    @property
    def study_date(self) -> date:
        return FIRST_STUDY_DATE + timedelta(weeks=self.study_number - 1)

    @property
    def study_instance_uid(self) -> UID:
        return self.uid("study")

    @property
    def anatomy(self) -> int:
        """Seed of the head."""
        return uuid.uuid5(_NAMESPACE, f"{self.seed}/{self.institution_name}/{self.patient_id}").int

    def uid(self, what: str) -> UID:
        """The UID of something in this study: a name-based UUID (PS3.5 §B.2)."""
        name = f"{self.seed}/{self.institution_name}/{self.patient_id}/{self.study_number}/{what}"
        return UID(f"2.25.{uuid.uuid5(_NAMESPACE, name).int}")


@dataclass(frozen=True, slots=True)
class _Series:
    """A series of a study: its number of instances, and their size in pixels."""

    study: HeadStudy
    instances: int
    rows: int
    columns: int

    @property
    def spacing_mm(self) -> float:
        """Between the centres of neighbouring slices, which are as thick."""
        return round((HIGHEST_MM - LOWEST_MM) / self.instances, 3)

    def uid(self, what: str) -> UID:
        """The UID of something in this series; another size is another series."""
        return self.study.uid(f"{self.instances}/{self.rows}/{self.columns}/{what}")


def ct_head_series(
    study: HeadStudy = HeadStudy(), *, instances: int = 200, rows: int = 512, columns: int = 512
) -> Iterator[Dataset]:
    """The instances of a series one by one, each made when it is asked for; from the jaw upwards.

    However many they are, they cover the whole head. Each has its file meta information, so that
    `save_as(path, enforce_file_format=True)` writes a file of PS3.10.
    """
    series = _Series(study, instances, rows, columns)
    head = Head(study.anatomy, rows, columns)
    for number in range(1, instances + 1):
        yield _instance(series, head, number)


def ct_head_files(
    study: HeadStudy = HeadStudy(), *, instances: int = 200, rows: int = 512, columns: int = 512
) -> Iterator[bytes]:
    """The same instances as DICOM files (PS3.10)."""
    for instance in ct_head_series(study, instances=instances, rows=rows, columns=columns):
        file = BytesIO()
        instance.save_as(file, enforce_file_format=True)
        yield file.getvalue()


def write_series(
    directory: Path,
    study: HeadStudy = HeadStudy(),
    *,
    instances: int = 200,
    rows: int = 512,
    columns: int = 512,
) -> list[Path]:
    """Write the files of a series into a folder, which is made if need be; their paths, in order."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    files = ct_head_files(study, instances=instances, rows=rows, columns=columns)
    for number, file in enumerate(files, start=1):
        path = directory / f"CT{number:04}.dcm"
        path.write_bytes(file)
        paths.append(path)
    return paths


def _instance(series: _Series, head: Head, number: int) -> Dataset:
    instance = Dataset()
    instance.SpecificCharacterSet = KOREAN
    _add_patient_and_study(instance, series.study)
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


def _add_patient_and_study(instance: Dataset, study: HeadStudy) -> None:
    """Patient, General Study and Patient Study modules (PS3.3 §C.7.1.1, §C.7.2.1, §C.7.2.2)."""
    instance.PatientName = study.patient_name
    instance.PatientID = study.patient_id
    if study.issuer_of_patient_id:
        instance.IssuerOfPatientID = study.issuer_of_patient_id
    instance.PatientBirthDate = _da(study.patient_birth_date)
    instance.PatientSex = study.patient_sex
    instance.PatientAge = f"{_years(study.patient_birth_date, study.study_date):03}Y"
    instance.StudyInstanceUID = study.study_instance_uid
    instance.StudyDate = _da(study.study_date)
    instance.StudyTime = "101500"
    instance.StudyID = str(study.study_number)
    instance.AccessionNumber = study.accession_number or f"A{study.seed:04}{study.study_number:04}"
    instance.StudyDescription = "Brain CT"
    instance.ReferringPhysicianName = study.referring_physician_name
    instance.RequestingService = study.requesting_service  # not of this IOD, but what archives add to it


def _add_series_and_equipment(instance: Dataset, series: _Series) -> None:
    """General Series, Frame of Reference and General Equipment modules (PS3.3 §C.7.3.1, §C.7.4.1, §C.7.5.1)."""
    instance.Modality = "CT"
    instance.SeriesInstanceUID = series.uid("series")
    instance.SeriesNumber = 2
    instance.SeriesDate = _da(series.study.study_date)
    instance.SeriesTime = "101600"
    instance.SeriesDescription = "Head without contrast"
    instance.ProtocolName = "Head routine"
    instance.BodyPartExamined = "HEAD"
    instance.PatientPosition = "HFS"
    instance.FrameOfReferenceUID = series.uid("frame of reference")
    instance.PositionReferenceIndicator = "OM"
    instance.Manufacturer = "Imaging exchange gateway"
    instance.ManufacturerModelName = "Generated head"
    instance.InstitutionName = series.study.institution_name
    instance.StationName = "CT1"
    instance.SoftwareVersions = IMPLEMENTATION_VERSION_NAME


def _add_acquisition(instance: Dataset, series: _Series, number: int) -> None:
    """General Image and CT Image modules, as far as they are about the scan (PS3.3 §C.7.6.1, §C.8.2.1)."""
    second = f"{1600 + (number - 1) * 40 // series.instances:04}"
    instance.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    instance.InstanceNumber = number
    instance.AcquisitionNumber = 1
    instance.AcquisitionDate = instance.ContentDate = _da(series.study.study_date)
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


def _add_image(instance: Dataset, series: _Series, head: Head, number: int) -> None:
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
    stored = (head.slice_hu(z_mm, series.study.study_number * series.instances + number) - OUTSIDE_HU).astype("<u2")
    instance.PixelData = stored.tobytes()


def _da(day: date) -> str:
    """As the value representation DA (PS3.5 §6.2)."""
    return day.strftime("%Y%m%d")


def _years(born: date, day: date) -> int:
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))
