"""What an instance is to the exchange."""

import pydicom.uid
import pytest

from gateway.domain.instance import Content, content_of
from tests.build import head

CT_OR_MR = {
    pydicom.uid.CTImageStorage,
    pydicom.uid.EnhancedCTImageStorage,
    pydicom.uid.LegacyConvertedEnhancedCTImageStorage,
    pydicom.uid.MRImageStorage,
    pydicom.uid.EnhancedMRImageStorage,
    pydicom.uid.MRSpectroscopyStorage,
    pydicom.uid.EnhancedMRColorImageStorage,
    pydicom.uid.LegacyConvertedEnhancedMRImageStorage,
}
COMPANIONS = {
    pydicom.uid.BasicTextSRStorage,
    pydicom.uid.ComprehensiveSRStorage,
    pydicom.uid.KeyObjectSelectionDocumentStorage,
    pydicom.uid.XRayRadiationDoseSRStorage,
    pydicom.uid.GrayscaleSoftcopyPresentationStateStorage,
    pydicom.uid.ColorSoftcopyPresentationStateStorage,
    pydicom.uid.EncapsulatedPDFStorage,
    pydicom.uid.EncapsulatedCDAStorage,
}
OTHERS = {
    pydicom.uid.ComputedRadiographyImageStorage,
    pydicom.uid.UltrasoundImageStorage,
    pydicom.uid.PositronEmissionTomographyImageStorage,
    pydicom.uid.SecondaryCaptureImageStorage,
    pydicom.uid.DigitalMammographyXRayImageStorageForPresentation,
    pydicom.uid.RTPlanStorage,
}


@pytest.mark.parametrize("uid", sorted(CT_OR_MR))
def test_ct_and_mr(uid: str) -> None:
    assert content_of(uid) is Content.CT_OR_MR


@pytest.mark.parametrize("uid", sorted(COMPANIONS))
def test_companions(uid: str) -> None:
    assert content_of(uid) is Content.COMPANION


@pytest.mark.parametrize(
    "uid",
    [*sorted(OTHERS), "", "1.2.840.10008.5.1.4.1.1.20", "1.2.840.10008.5.1.4.1.1.2.3", "1.2.840.10008.5.1.4.1.1.1.1"],
)
def test_everything_else_is_not_exchanged(uid: str) -> None:
    assert content_of(uid) is Content.OTHER


def test_head_is_classified_by_its_sop_class() -> None:
    assert head().content is Content.CT_OR_MR
    assert head(sop_class_uid=str(pydicom.uid.UltrasoundImageStorage)).content is Content.OTHER
