"""What the demo runs: two Orthancs, a gateway between them, a witness on either wire, and everybody registered."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pydicom
from rich.console import Console

from gateway.app.parts import open_database, utc_now
from gateway.domain.access import Role
from gateway.domain.institution import Institution
from gateway.domain.peer import ApplicationEntity
from gateway.domain.person import PatientKey
from gateway.domain.transfer import Route
from gateway.errors import InputError
from gateway.ops.counterparts import LOOPBACK, OrthancServer
from gateway.ops.node import GatewayNode
from gateway.ops.phantom import CtHead, write_series
from gateway.ops.send import dicom_files
from gateway.ops.series import copies
from gateway.ops.witness import Witness
from gateway.scu.orthanc import OrthancNode
from gateway.scu.orthanc_answers import Level
from gateway.store.network import put_ae, put_institution, put_route
from gateway.store.tokens import create_token

HOSPITAL_A = Institution("1.2.410.100110.10.10000001", "Hospital A")
HOSPITAL_B = Institution("1.2.410.100110.10.10000002", "Hospital B")
AE_A, AE_B, AE_GATEWAY = "HOSPITAL_A", "HOSPITAL_B", "GATEWAY"
MODALITY = "gateway"
"""The gateway's name in Hospital A's Orthanc."""

NEXT_STUDY_COUNT = 5
"""Instances of the study sent after the withdrawal: enough to show that none gets through."""

REST_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Checks:
    """What the demo claims, and whether it held; `study_s` is how long the study took from hospital to hospital."""

    console: Console
    results: list[tuple[str, bool]] = field(default_factory=list)
    study_s: float | None = None

    def hold(self, claim: str, held: bool) -> None:
        """Note a claim, and show at once whether it held."""
        self.results.append((claim, held))
        self.console.print(f"   [{'green' if held else 'bold red'}]{'yes' if held else 'NO '}[/] {claim}")

    @property
    def all_held(self) -> bool:
        return all(held for _, held in self.results)


@dataclass(frozen=True, slots=True)
class LeftRunning:
    """Where things are after the demo; `pids` are the processes to end, then `folder` may be removed."""

    folder: Path
    hospital_a_url: str
    hospital_a_password_file: Path
    hospital_b_url: str
    hospital_b_password_file: Path
    gateway_peer: str
    gateway_rest_url: str
    gateway_config_file: Path
    gateway_log_file: Path
    tokens_file: Path
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs. `inbound` sees what Hospital A sends, `outbound` what Hospital B is sent."""

    console: Console
    checks: Checks
    folder: Path
    orthanc_a: OrthancServer
    orthanc_b: OrthancServer
    a: OrthancNode
    b: OrthancNode
    gateway: GatewayNode
    inbound: Witness
    outbound: Witness
    tokens: Mapping[tuple[str, Role], str]
    study_instance_uid: str
    next_study_instance_uid: str
    patient_id: str
    instances: int
    size_bytes: int

    def rest(self, institution: Institution, role: Role) -> httpx.Client:
        """A client of the REST interface, with a token of that institution and role."""
        return httpx.Client(
            base_url=f"{self.gateway.rest_url}/api/v1",
            headers={"Authorization": f"Bearer {self.tokens[institution.oid, role]}"},
            timeout=REST_TIMEOUT_S,
        )

    def study_at_a(self, study_instance_uid: str) -> str:
        """Orthanc's own id of a study that Hospital A holds."""
        (study_id,) = self.a.lookup(Level.STUDY, study_instance_uid)
        return study_id


def set_the_stage(dicom: Path | None, instances: int, keep: bool, console: Console, stack: ExitStack) -> Stage:
    """Start everything; `stack` ends it.

    Raises:
        InputError: the user's files are no single study.
        NotFound: Orthanc is not on this machine; the message says how to get it.
        PeerSystemError: something did not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="gateway-demo-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    files = _series(dicom, instances, folder, console)
    first = _described(files[0])
    following = copies(files[0], folder / "next", NEXT_STUDY_COUNT, new_study=True)
    with console.status("starting two Orthancs and the gateway"):
        orthanc_a = stack.enter_context(OrthancServer(HOSPITAL_A.name, AE_A, scratch=folder, keep=keep))
        orthanc_b = stack.enter_context(OrthancServer(HOSPITAL_B.name, AE_B, scratch=folder, keep=keep))
        gateway = GatewayNode(folder / "gateway")
        inbound = stack.enter_context(Witness(gateway.dicom_port))
        outbound = stack.enter_context(Witness(orthanc_b.dicom_port))
        tokens = _register(gateway, orthanc_a.dicom_port, outbound.port)
        stack.enter_context(gateway)
        a, b = stack.enter_context(orthanc_a.node()), stack.enter_context(orthanc_b.node())
        a.register_modality(MODALITY, AE_GATEWAY, LOOPBACK, inbound.port)
    with console.status("Hospital A takes the series"):
        for path in (*files, *following):
            a.upload(path.read_bytes())
    stage = Stage(
        console=console,
        checks=Checks(console),
        folder=folder,
        orthanc_a=orthanc_a,
        orthanc_b=orthanc_b,
        a=a,
        b=b,
        gateway=gateway,
        inbound=inbound,
        outbound=outbound,
        tokens=tokens,
        study_instance_uid=first.study_instance_uid,
        next_study_instance_uid=_described(following[0]).study_instance_uid,
        patient_id=first.patient.patient_id,
        instances=len(files),
        size_bytes=sum(path.stat().st_size for path in files),
    )
    _introduce(stage)
    return stage


def leave_running(stage: Stage, stack: ExitStack) -> LeftRunning:
    """Let everything outlive us, the wires connected without the witnesses; say where things are."""
    _put_aes(stage.gateway, stage.orthanc_a.dicom_port, stage.orthanc_b.dicom_port)
    stage.a.register_modality(MODALITY, AE_GATEWAY, LOOPBACK, stage.gateway.dicom_port)
    tokens = stage.folder / "tokens"
    with open(os.open(tokens, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        for (oid, role), token in stage.tokens.items():
            file.write(f"{oid} {role} {token}\n")
    left = LeftRunning(
        folder=stage.folder,
        hospital_a_url=stage.orthanc_a.http_url,
        hospital_a_password_file=stage.orthanc_a.folder / "orthanc.json",
        hospital_b_url=stage.orthanc_b.http_url,
        hospital_b_password_file=stage.orthanc_b.folder / "orthanc.json",
        gateway_peer=f"{AE_GATEWAY}@{LOOPBACK}:{stage.gateway.dicom_port}",
        gateway_rest_url=stage.gateway.rest_url,
        gateway_config_file=stage.gateway.config_file,
        gateway_log_file=stage.gateway.log_file,
        tokens_file=tokens,
        pids=(stage.orthanc_a.detach(), stage.orthanc_b.detach(), stage.gateway.detach()),
    )
    stack.pop_all()
    say = stage.console.print
    say("\nLeft running:")
    say(f"   {HOSPITAL_A.name}: {left.hospital_a_url}  user and password in {left.hospital_a_password_file}")
    say(f"   {HOSPITAL_B.name}: {left.hospital_b_url}  user and password in {left.hospital_b_password_file}")
    say(f"   gateway: DICOM {left.gateway_peer}, REST {left.gateway_rest_url}")
    say(f"   its settings: {left.gateway_config_file}, its log: {left.gateway_log_file}, REST tokens: {tokens}")
    say(f"   everything, images included, is below {left.folder}: remove it when all have stopped")
    say(f"   stop with: kill {' '.join(map(str, left.pids))}")
    return left


@dataclass(frozen=True, slots=True)
class _Described:
    """What the demo has to know of an instance to show it going."""

    study_instance_uid: str
    patient: PatientKey


def _series(dicom: Path | None, instances: int, folder: Path, console: Console) -> list[Path]:
    """The files of the study to send, each instance once.

    Raises:
        InputError: the user's files are not one study of one patient who can be named.
    """
    if dicom is None:
        with console.status(f"generating a CT head series of {instances} slices"):
            return write_series(folder / "series", CtHead(instances=instances))
    files = list({file.sop_instance_uid: file.path for file in dicom_files([dicom])}.values())
    described = {_described(path) for path in files}
    studies, patients = {d.study_instance_uid for d in described}, {d.patient for d in described}
    if len(studies) > 1:
        raise InputError(f"{dicom} holds {len(studies)} studies; give a folder with one")
    if len(patients) > 1:
        raise InputError(f"{dicom} names {len(patients)} patients in one study; give a folder with one")
    return files


def _described(path: Path) -> _Described:
    """Raises InputError where the file does not name its study or its patient."""
    head = pydicom.dcmread(path, specific_tags=["StudyInstanceUID", "PatientID"], stop_before_pixels=True)
    study_instance_uid, patient_id = str(head.get("StudyInstanceUID") or ""), str(head.get("PatientID") or "").strip()
    if not study_instance_uid:
        raise InputError(f"{path.name} has no Study Instance UID; give a folder with one study")
    if not patient_id:
        raise InputError(f"{path.name} has no Patient ID, so nobody could consent for its patient; give it one")
    return _Described(study_instance_uid, PatientKey(HOSPITAL_A.oid, patient_id))


def _register(gateway: GatewayNode, port_a: int, port_b: int) -> dict[tuple[str, Role], str]:
    """What `gateway institution add`, `ae add`, `route add` and `token create` do; returns the tokens."""
    database = open_database(gateway.settings)
    tokens = {}
    with database.write() as session:
        for institution in (HOSPITAL_A, HOSPITAL_B):
            put_institution(session, institution)
            session.flush()
            for role in (Role.CLINICIAN, Role.DESK, Role.ADMINISTRATOR):
                _, tokens[institution.oid, role] = create_token(
                    session, institution.oid, role, label="demo", now=utc_now(), expires_at=None
                )
    database.close()
    _put_aes(gateway, port_a, port_b)
    database = open_database(gateway.settings)
    with database.write() as session:
        put_route(session, Route("a-to-b", AE_B, calling_ae_title=AE_A))
    database.close()
    return tokens


def _put_aes(gateway: GatewayNode, port_a: int, port_b: int) -> None:
    database = open_database(gateway.settings)
    with database.write() as session:
        for title, institution, port in ((AE_A, HOSPITAL_A, port_a), (AE_B, HOSPITAL_B, port_b)):
            put_ae(session, ApplicationEntity(title, institution.oid, LOOPBACK, port, (f"{LOOPBACK}/32",)))
    database.close()


def _introduce(stage: Stage) -> None:
    say = stage.console.print
    say(f"[bold]{HOSPITAL_A.name}[/]  Orthanc {stage.a.system().version}, {AE_A}")
    say(f"[bold]{HOSPITAL_B.name}[/]  Orthanc {stage.b.system().version}, {AE_B}")
    say(f"[bold]Gateway[/]     {AE_GATEWAY}@{LOOPBACK}:{stage.gateway.dicom_port}, REST {stage.gateway.rest_url}")
    say(f"[bold]Study[/]       {stage.instances} images, {stage.size_bytes / 1e6:.0f} MB, held by {HOSPITAL_A.name}")
