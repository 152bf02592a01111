"""pynetdicom as sender; as destination it is the sink of every other test here."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from gateway.domain.peer import ApplicationEntity
from gateway.ops.send import dicom_files, send_files
from tests.interop.conftest import DIAL, MODALITY, TO_SINK, Exchange
from tests.interop.series import Source, made, needs_real_files, sources, under_new_uid
from tests.scp.raw import CT, EXPLICIT, LOOPBACK, VERIFICATION
from tests.scp.sink import Received
from tests.wait import wait_until

pytestmark = pytest.mark.interop

SUCCESS, NOT_AUTHORIZED = 0x0000, 0x0124


def associated(exchange: Exchange, files: list[Source], maximum_pdu: int = 16_382) -> Association:
    """An association that proposes what the files need."""
    ae = AE(MODALITY)
    pairs = {(dcmread(file.path, stop_before_pixels=True).SOPClassUID, file.transfer_syntax) for file in files}
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in sorted(pairs)]
    contexts.append(build_context(VERIFICATION))
    association = ae.associate(LOOPBACK, exchange.port, contexts, ae_title=TO_SINK, max_pdu=maximum_pdu)
    assert association.is_established
    assert len(association.accepted_contexts) == len(contexts)
    return association


def statuses(exchange: Exchange, files: list[Source], maximum_pdu: int = 16_382) -> list[int]:
    association = associated(exchange, files, maximum_pdu)
    try:
        return [association.send_c_store(dcmread(file.path)).Status for file in files]
    finally:
        association.release()


def received(exchange: Exchange, files: list[Source]) -> list[Received]:
    """What came out of the gateway of these files, when all of them have."""
    wanted = {file.sop_instance_uid for file in files}
    wait_until(lambda: wanted <= exchange.sink.digests.keys(), 30.0)
    return [one for one in exchange.sink.received if one.sop_instance_uid in wanted]


def test_echo(exchange: Exchange) -> None:
    association = associated(exchange, [])

    assert [association.send_c_echo().Status for _ in range(3)] == [SUCCESS] * 3
    association.release()
    assert association.is_released


@needs_real_files
@pytest.mark.parametrize("folder", ["mr_transfer_syntaxes", "mr_enhanced"])
@pytest.mark.parametrize("maximum_pdu", [0, 4096, 1 << 20])
def test_real_files_in_pdus_of_every_size(exchange: Exchange, tmp_path: Path, folder: str, maximum_pdu: int) -> None:
    files = [under_new_uid(file, tmp_path) for file in sources(folder)]

    assert statuses(exchange, files, maximum_pdu) == [SUCCESS] * len(files)
    syntaxes = {one.sop_instance_uid: one.transfer_syntax for one in received(exchange, files)}
    assert syntaxes == {file.sop_instance_uid: file.transfer_syntax for file in files}


@needs_real_files
@pytest.mark.parametrize("folder", ["ct_head_ge", "mr_transfer_syntaxes", "mr_enhanced", "mr_t1_head"])
def test_every_real_file_comes_out_byte_by_byte(exchange: Exchange, tmp_path: Path, folder: str) -> None:
    """From our own sender, which sends files as they are, to pynetdicom, which shows data sets as they came."""
    files = [under_new_uid(file, tmp_path) for file in sources(folder)]
    peer = ApplicationEntity(TO_SINK, "", LOOPBACK, exchange.port)

    results = send_files(peer, dicom_files([tmp_path]), DIAL)

    assert [result.status for result in results] == [SUCCESS] * len(files)
    out = {one.sop_instance_uid: (one.transfer_syntax, one.sha256) for one in received(exchange, files)}
    assert out == {file.sop_instance_uid: (file.transfer_syntax, file.sha256) for file in files}


def test_eight_associations_at_once(exchange: Exchange, tmp_path: Path) -> None:
    series = [made(tmp_path / str(number), 10) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda files: statuses(exchange, files), series))

    assert answers == [[SUCCESS] * 10] * 8
    everything = [file for files in series for file in files]
    assert {one.sha256 for one in received(exchange, everything)} == {file.sha256 for file in everything}


def test_a_refusal_is_read_as_such_and_the_association_goes_on(exchange: Exchange, tmp_path: Path) -> None:
    files = made(tmp_path, 2)
    image = dcmread(files[0].path)
    image.PatientID = "NOT-CONSENTING"
    association = associated(exchange, files)

    refused = association.send_c_store(image)
    accepted = association.send_c_store(dcmread(files[1].path))
    association.release()

    assert (refused.Status, refused.ErrorComment) == (NOT_AUTHORIZED, "Not authorized")
    assert accepted.Status == SUCCESS


def test_an_abort_inside_a_series_keeps_what_was_acknowledged(exchange: Exchange, tmp_path: Path) -> None:
    files = made(tmp_path, 5)
    association = associated(exchange, files)
    answers = [association.send_c_store(dcmread(file.path)).Status for file in files[:3]]
    association.abort()

    assert answers == [SUCCESS] * 3
    assert {one.sha256 for one in received(exchange, files[:3])} == {file.sha256 for file in files[:3]}
    assert not {file.sop_instance_uid for file in files[3:]} & exchange.sink.digests.keys()


def test_contexts_beyond_what_can_be_stored_are_not_accepted(exchange: Exchange) -> None:
    ae = AE(MODALITY)
    contexts = [build_context(CT, EXPLICIT), build_context("1.2.840.10008.5.1.4.1.2.2.1"), build_context("1.2.3.4.5")]
    association = ae.associate(LOOPBACK, exchange.port, contexts, ae_title=TO_SINK)

    assert [context.abstract_syntax for context in association.accepted_contexts] == [CT]
    assert {context.result for context in association.rejected_contexts} == {3}
    association.release()
