"""Every storage SOP class there is, and nothing private that the site has not named; the lists are pydicom's."""

import re
from pathlib import Path

import pytest
from pydicom.uid import UID_dictionary
from pynetdicom import AllStoragePresentationContexts, QueryRetrievePresentationContexts

from gateway.scp.registry import SOPClasses, choose_transfer_syntax
from tests.scp.raw import EXPLICIT, IMPLICIT, VERIFICATION, RawPeer, data_set, new_uid
from tests.scp.sink import Sink
from tests.scp.site import CONSENTING, RunningSite, running_site, settings

PRIVATE = "1.3.12.2.1107.5.9.1"
"""A manufacturer's CSA Non-Image Storage."""

BIG_ENDIAN, JPEG_2000, JPEG_LS = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80"

STORAGE = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
ACCEPTED, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = 0, 3, 4


def is_stored(name: str) -> bool:
    """Whether a SOP class of this name is for C-STORE: not a service about storing, a printer's or a medium's."""
    return "Storage" in name and not re.search("Commitment|Management|Directory|Hardcopy", name)


def results(site: RunningSite, contexts: list[tuple[str, list[str]]]) -> list[int]:
    """What each proposed context is answered."""
    with RawPeer(site.port) as peer:
        answered = peer.associate(contexts={2 * index + 1: context for index, context in enumerate(contexts)})
        peer.release()
    assert list(answered) == [2 * index + 1 for index in range(len(contexts))]
    return list(answered.values())


@pytest.mark.parametrize("start", range(0, len(STORAGE), 128))
def test_every_storage_class_is_accepted(site: RunningSite, start: int) -> None:
    proposed = [(uid, [IMPLICIT, EXPLICIT]) for uid in STORAGE[start : start + 128]]

    assert results(site, proposed) == [ACCEPTED] * len(proposed)


def test_what_is_no_storage_class_is_not_accepted(site: RunningSite) -> None:
    others = [str(context.abstract_syntax) for context in QueryRetrievePresentationContexts]
    others += [PRIVATE, "1.2.840.10008.5.1.4.1.1", "1.2.840.10008.1.20.1", "1.2"]

    assert set(results(site, [(uid, [EXPLICIT]) for uid in others])) == {ABSTRACT_SYNTAX_NOT_SUPPORTED}


@pytest.mark.parametrize(
    ("syntaxes", "result"),
    [
        ([IMPLICIT], ACCEPTED),
        (["1.2.840.10008.1.2.2"], ACCEPTED),
        (["1.2.840.10008.1.2.4.203"], ACCEPTED),
        (["1.2.840.10008.1.2.4.106"], ACCEPTED),
        (["1.2.840.113619.5.2"], TRANSFER_SYNTAXES_NOT_SUPPORTED),  # private: how its head is written is not known
        (["1.2.840.113619.5.2", EXPLICIT], ACCEPTED),
    ],
)
def test_transfer_syntaxes_are_accepted_as_they_are(site: RunningSite, syntaxes: list[str], result: int) -> None:
    assert results(site, [("1.2.840.10008.5.1.4.1.1.2", syntaxes)]) == [result]


def test_the_standard_says_what_is_stored() -> None:
    kinds = ("SOP Class", "Well-known SOP Instance")
    named = {uid: name for uid, (name, kind, *_) in UID_dictionary.items() if kind in kinds and name}

    assert {uid for uid in named if SOPClasses().is_storage(uid)} == {
        uid for uid, name in named.items() if is_stored(name)
    }


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([BIG_ENDIAN, IMPLICIT], IMPLICIT),  # storescu, for whatever is not explicit little endian
        ([BIG_ENDIAN, EXPLICIT, IMPLICIT], EXPLICIT),
        ([BIG_ENDIAN], BIG_ENDIAN),
        ([JPEG_2000, JPEG_LS], JPEG_2000),
        ([IMPLICIT, JPEG_2000], IMPLICIT),
        ([PRIVATE, BIG_ENDIAN], BIG_ENDIAN),
        ([PRIVATE], None),
        ([], None),
    ],
)
def test_a_transfer_syntax_is_chosen_that_destinations_take(offered: list[str], chosen: str | None) -> None:
    assert choose_transfer_syntax(tuple(offered)) == chosen


def test_a_private_class_is_accepted_by_a_site_that_names_it(tmp_path: Path, sink: Sink) -> None:
    """And is decided on like every other: it is no CT or MR, so it does not leave the institution."""
    uid = new_uid()
    named = settings(tmp_path, private_storage_sop_classes=(PRIVATE,))
    with running_site(named, sink.port) as site, RawPeer(site.port) as peer:
        results = peer.associate(contexts={1: (PRIVATE, [EXPLICIT]), 3: (PRIVATE + ".1", [EXPLICIT])})
        status = peer.store(uid, data_set(uid, CONSENTING, sop_class=PRIVATE), context_id=1, sop_class=PRIVATE)
        peer.release()

        assert results == {1: ACCEPTED, 3: ABSTRACT_SYNTAX_NOT_SUPPORTED}
        assert status == 0x0124
        assert site.reasons() == {"modality_not_exchangeable": 1}


def test_private_classes_are_storage_only_where_they_are_named() -> None:
    assert not SOPClasses().is_supported(PRIVATE)
    assert SOPClasses([PRIVATE]).is_storage(PRIVATE)
    assert SOPClasses([PRIVATE]).is_supported(VERIFICATION)
    assert not SOPClasses([PRIVATE]).is_supported(PRIVATE + ".1")
    assert not SOPClasses([PRIVATE]).is_storage(VERIFICATION)
