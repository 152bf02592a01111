"""The Orthanc adapter against a real Orthanc."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer

from gateway.errors import InputError, PeerSystemError
from gateway.ops.counterparts import OrthancServer, StoreScp, free_port
from gateway.scu.orthanc import JobState, Level, OrthancNode

pytestmark = pytest.mark.needs("orthanc")

REFUSED_NOT_AUTHORIZED = 0x0124
STUDY = generate_uid()
NOWHERE = "00000000-00000000-00000000-00000000-00000000"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    with OrthancServer("Hospital A", "HOSPITAL_A", scratch=tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture
def node(server: OrthancServer) -> Iterator[OrthancNode]:
    with server.node() as node:
        node.delete_all()
        yield node


def ct_file(study_uid: str = STUDY, series: int = 1, patient_id: str = "P1") -> bytes:
    """A small CT instance as a PS3.10 file."""
    instance = Dataset()
    instance.SOPClassUID = CTImageStorage
    instance.SOPInstanceUID = generate_uid()
    instance.StudyInstanceUID = study_uid
    instance.SeriesInstanceUID = f"{study_uid[:60]}.{series}"
    instance.PatientID = patient_id
    instance.PatientName = "Hong^Gildong"
    instance.Modality = "CT"
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = BytesIO()
    instance.save_as(out, enforce_file_format=True)
    return out.getvalue()


@pytest.fixture
def scp() -> Iterator[tuple[int, list[int]]]:
    """A storage SCP of another implementation: its port, and the statuses it answers with by turns."""
    statuses: list[int] = []
    ae = AE("ARCHIVE")
    ae.add_supported_context(CTImageStorage)
    handlers = [(evt.EVT_C_STORE, lambda _: statuses.pop(0) if statuses else 0)]
    port = free_port()
    running = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    assert isinstance(running, ThreadedAssociationServer)
    yield port, statuses
    running.shutdown()


def test_what_the_server_says_of_itself(server: OrthancServer, node: OrthancNode) -> None:
    system = node.wait_until_ready(deadline_s=5)

    assert system == node.system()
    assert (system.name, system.aet, system.dicom_port) == ("Hospital A", "HOSPITAL_A", server.dicom_port)
    assert tuple(map(int, system.version.split("."))) >= (1, 10, 1)


def test_what_was_uploaded_is_downloaded_byte_for_byte(node: OrthancNode) -> None:
    file = ct_file()

    instance_id = node.upload(file)

    assert node.upload(file) == instance_id
    assert node.download(instance_id) == file


def test_counts(node: OrthancNode) -> None:
    assert node.count_instances() == 0

    for series in (1, 1, 2):
        node.upload(ct_file(series=series))

    counts = node.statistics()
    assert (counts.patients, counts.studies, counts.series, counts.instances) == (1, 1, 2, 3)
    assert counts.disk_size_bytes > 0
    assert replace(counts, disk_size_bytes=0) == replace(node.statistics(), disk_size_bytes=0)

    node.delete_all()
    assert node.count_instances() == 0


def test_instances_of_a_study_over_its_series_and_patients(node: OrthancNode) -> None:
    mine = {node.upload(ct_file(series=1)), node.upload(ct_file(series=2))}
    same_uid_other_patient = node.upload(ct_file(patient_id="P2"))
    node.upload(ct_file(generate_uid()))

    assert set(node.instance_ids(STUDY)) == mine | {same_uid_other_patient}
    assert node.instance_ids(generate_uid()) == ()


def test_lookup_by_uid_keeps_to_its_level(node: OrthancNode) -> None:
    file = ct_file()
    instance_id = node.upload(file)
    instance = dcmread(BytesIO(file))

    assert node.lookup(Level.INSTANCE, instance.SOPInstanceUID) == (instance_id,)
    assert len(node.lookup(Level.SERIES, instance.SeriesInstanceUID)) == 1
    assert len(node.lookup(Level.STUDY, STUDY)) == 1
    assert node.lookup(Level.SERIES, STUDY) == ()
    assert len(node.lookup(Level.PATIENT, "P1")) == 1


def test_what_is_not_dicom_is_refused_in_orthancs_words(node: OrthancNode) -> None:
    with pytest.raises(PeerSystemError, match=r"asked to store an instance: HTTP 400 \(Bad file format\)"):
        node.upload(b"Hong Gildong, born 1980")


def test_an_instance_that_is_not_there(node: OrthancNode) -> None:
    with pytest.raises(PeerSystemError, match=r"HTTP 404 .*: it is not there"):
        node.download(NOWHERE)


@pytest.mark.parametrize("name", ["../instances", "a/b", "a?b", "a#b", "%2e%2e"])
def test_a_name_is_one_segment_of_a_path(node: OrthancNode, name: str) -> None:
    with pytest.raises(PeerSystemError, match="HTTP 404"):
        node.download(name)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_is_no_segment(node: OrthancNode, name: str) -> None:
    with pytest.raises(InputError):
        node.download(name)


@pytest.mark.needs("dcmtk")
@pytest.mark.interop
def test_send_arrives(node: OrthancNode, tmp_path: Path) -> None:
    files = [ct_file() for _ in range(3)]
    for file in files:
        node.upload(file)
    with StoreScp("ARCHIVE", scratch=tmp_path) as archive:
        node.register_modality("archive", "ARCHIVE", "127.0.0.1", archive.port)
        node.echo("archive")
        job = node.send("archive", node.lookup(Level.STUDY, STUDY), timeout_s=30)
        received = {dcmread(path).SOPInstanceUID for path in archive.files()}

    assert (job.state, job.progress_percent, job.error) == (JobState.SUCCESS, 100, "")
    assert node.job(job.job_id) == job
    assert received == {dcmread(BytesIO(file)).SOPInstanceUID for file in files}


@pytest.mark.interop
def test_send_that_is_refused_says_the_status(node: OrthancNode, scp: tuple[int, list[int]]) -> None:
    port, statuses = scp
    statuses += [0, REFUSED_NOT_AUTHORIZED] * 2
    resources = [node.upload(ct_file()), node.upload(ct_file())]
    node.register_modality("archive", "ARCHIVE", "127.0.0.1", port)

    with pytest.raises(PeerSystemError, match=r"sending to archive failed: .*ARCHIVE.*0x0124"):
        node.send("archive", resources, timeout_s=30)
    job = node.wait_for_job(node.submit("archive", resources), timeout_s=30)

    assert job.state is JobState.FAILURE
    assert job.dimse_status == REFUSED_NOT_AUTHORIZED


def test_send_to_nobody_says_so(node: OrthancNode) -> None:
    resources = [node.upload(ct_file())]
    node.register_modality("nobody", "NOBODY", "127.0.0.1", free_port())

    with pytest.raises(PeerSystemError, match=r"sending to nobody failed: .*Connection refused"):
        node.send("nobody", resources, timeout_s=30)
    with pytest.raises(PeerSystemError, match="asked for a C-ECHO to nobody"):
        node.echo("nobody")
    with pytest.raises(PeerSystemError, match="asked to send to unknown: HTTP 404"):
        node.send("unknown", resources, timeout_s=30)


@pytest.mark.needs("dcmtk")
@pytest.mark.interop
def test_send_that_takes_too_long_is_cancelled(node: OrthancNode, tmp_path: Path) -> None:
    resources = [node.upload(ct_file()) for _ in range(4)]
    with StoreScp("SLOW", "--sleep-after", "1", scratch=tmp_path) as slow:
        node.register_modality("slow", "SLOW", "127.0.0.1", slow.port)
        job_id = node.submit("slow", resources)
        with pytest.raises(PeerSystemError, match=r"after 0\.1 s, was cancelled"):
            node.wait_for_job(job_id, timeout_s=0.1)
        job = node.wait_for_job(job_id, timeout_s=30)

    assert job.state is JobState.FAILURE
    assert "ancel" in job.error


def test_nothing_to_send_is_no_success(node: OrthancNode) -> None:
    with pytest.raises(InputError, match="no resources"):
        node.send("archive", [], timeout_s=1)


def test_a_wrong_password_ends_the_wait_at_once(server: OrthancServer) -> None:
    with (
        OrthancNode(server.http_url, username=server.username, password="wrong") as stranger,  # noqa: S106
        pytest.raises(PeerSystemError, match=r"HTTP 401.*user or password refused"),
    ):
        stranger.wait_until_ready(deadline_s=3600)
