"""The network of one moment."""

from dataclasses import replace

from tests.build import HOSPITAL_B, PACS_B, network


def test_institution_of_an_ae_title() -> None:
    hospital = network().institution_of(PACS_B)

    assert hospital is not None
    assert hospital.oid == HOSPITAL_B


def test_institution_of_an_unknown_ae_title() -> None:
    assert network().institution_of("NOBODY") is None


def test_institution_that_is_not_registered_any_more() -> None:
    known = network()

    assert replace(known, institutions={}).institution_of(PACS_B) is None
