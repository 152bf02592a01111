"""The scenes of the demo, in order. Each docstring is the scene's headline."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from io import BytesIO

import httpx
import pydicom
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.domain.access import Role
from gateway.domain.decision import Outcome, Reason
from gateway.ops.compare import differences
from gateway.ops.demo.stage import AE_A, AE_B, HOSPITAL_A, HOSPITAL_B, MODALITY, NEXT_STUDY_COUNT, Stage
from gateway.ops.letter import simple_pdf
from gateway.scu.orthanc import OrthancNode
from gateway.scu.orthanc_answers import Job, JobState

SEND_TIMEOUT_S = 300.0
"""For a whole study from Hospital A to Hospital B, on a slow machine."""

POLL_S = 0.1
COMPARED_AT_ONCE = 4


def refused_without_consent(stage: Stage) -> None:
    """Hospital A sends a study to Hospital B. The patient has not consented."""
    job = _send(stage, stage.study_instance_uid)
    stage.console.print(f"   Hospital A's Orthanc: {job.error}")
    stage.checks.hold("without a consent the study is refused", job.state is JobState.FAILURE)
    stage.checks.hold("nothing of it is at Hospital B", stage.b.count_instances() == 0)
    _check_reason(stage, stage.study_instance_uid, Reason.NO_CONSENT)


def goes_with_consent(stage: Stage) -> None:
    """The patient's consent is registered; the study and a referral letter go."""
    _register_form(stage, "ENTIRE_CONSENT")
    seconds = stage.checks.study_s = _send_watched(stage)
    stage.console.print(f"   {stage.instances} images in {seconds:.1f} s: {_rate(stage, stage.instances, seconds)}")
    stage.checks.hold("with the consent every image is at Hospital B", stage.b.count_instances() == stage.instances)
    letter = simple_pdf(["진료의뢰서 (Referral)", "Hospital A -> Hospital B", "CT head, for your opinion."])
    with stage.rest(HOSPITAL_A, Role.CLINICIAN) as hospital_a:
        answer = hospital_a.post(
            _documents(stage), data={"type": "REFERRAL"}, files={"file": ("letter.pdf", letter, "application/pdf")}
        )
    stage.checks.hold("a referral letter is attached to the study", answer.status_code == httpx.codes.CREATED)
    read = _read_letters(stage)
    stage.checks.hold("Hospital B reads the letter, byte for byte", read == [sha256(letter).hexdigest()])


def refused_after_withdrawal(stage: Stage) -> None:
    """The patient withdraws the consent; the next study and the letter are refused."""
    with stage.rest(HOSPITAL_B, Role.CLINICIAN) as hospital_b:
        (letter,) = hospital_b.get(_documents(stage)).json()["documents"]
        _register_form(stage, "ENTIRE_WITHDRAWAL")
        job = _send(stage, stage.next_study_instance_uid)
        stage.console.print(f"   Hospital A's Orthanc: {job.error}")
        stage.checks.hold("after the withdrawal the next study is refused", job.state is JobState.FAILURE)
        stage.checks.hold(
            f"none of its {NEXT_STUDY_COUNT} images is at Hospital B", stage.b.count_instances() == stage.instances
        )
        _check_reason(stage, stage.next_study_instance_uid, Reason.WITHDRAWN)
        answer = hospital_b.get(f"{_documents(stage)}/{letter['id']}/content")
        stage.console.print(f"   Hospital B asks for the letter: {answer.status_code} {answer.json()['title']}")
        stage.checks.hold("the letter is refused to Hospital B", answer.status_code == httpx.codes.NOT_FOUND)


def arrived_unchanged(stage: Stage) -> None:
    """Every image at Hospital B is compared with Hospital A's."""
    sent, delivered = stage.inbound.digests, stage.outbound.digests
    uids = {uid for uid, digests in delivered.items() if digests == sent[uid]}
    stage.checks.hold(
        f"on the wire, {len(uids)} of {stage.instances} data sets left the gateway byte for byte as they came",
        len(uids) == len(delivered) == stage.instances,
    )
    at_a, at_b = _files(stage.a, stage.study_instance_uid), _files(stage.b, stage.study_instance_uid)
    same = sum(uid in at_b and not differences(file, at_b[uid]) for uid, file in at_a.items())
    stage.checks.hold(
        f"in the archives, {same} of {stage.instances} images hold the same elements and pixels",
        same == len(at_a) == len(at_b) == stage.instances,
    )


SCENES: tuple[Callable[[Stage], None], ...] = (
    refused_without_consent,
    goes_with_consent,
    refused_after_withdrawal,
    arrived_unchanged,
)


def _send(stage: Stage, study_instance_uid: str) -> Job:
    """Let Hospital A's Orthanc send a study to the gateway; the finished job."""
    job_id = stage.a.submit(MODALITY, [stage.study_at_a(study_instance_uid)])
    return stage.a.wait_for_job(job_id, SEND_TIMEOUT_S)


def _send_watched(stage: Stage) -> float:
    """The same, with progress, until everything is at Hospital B; returns the seconds it took."""
    columns = (
        TextColumn("   {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    began_at = time.monotonic()
    stage.a.submit(MODALITY, [stage.study_at_a(stage.study_instance_uid)])
    with Progress(*columns, console=stage.console) as progress:
        task = progress.add_task(f"{AE_A} -> gateway -> {AE_B}", total=stage.instances, rate="")
        while True:
            arrived = stage.b.count_instances()
            seconds = time.monotonic() - began_at
            progress.update(task, completed=arrived, rate=_rate(stage, arrived, seconds))
            if arrived >= stage.instances or seconds > SEND_TIMEOUT_S:
                return seconds
            time.sleep(POLL_S)


def _rate(stage: Stage, count: int, seconds: float) -> str:
    megabytes = stage.size_bytes / 1e6 * count / stage.instances
    return f"{count / seconds:.0f} images/s, {megabytes / seconds:.0f} MB/s"


def _register_form(stage: Stage, form: str) -> None:
    with stage.rest(HOSPITAL_A, Role.DESK) as desk:
        answer = desk.post("/consents", json={"patient_id": stage.patient_id, "form": form})
    answer.raise_for_status()
    stage.console.print(f"   The consent desk of Hospital A registers {form}: consent is {answer.json()['mode']}")


def _check_reason(stage: Stage, study_instance_uid: str, reason: Reason) -> None:
    """Only the institution that owns the study is told why."""
    with stage.rest(HOSPITAL_A, Role.CLINICIAN) as owner:
        decisions = owner.get("/decisions", params={"study": study_instance_uid}).json()["decisions"]
    latest = decisions[0] if decisions else {"outcome": "", "reason": "", "explanation": "", "explanation_korean": ""}
    stage.console.print(f"   Why, for Hospital A: {latest['explanation']} {latest['explanation_korean']}")
    told = (latest["outcome"], latest["reason"]) == (Outcome.DENY, reason)
    stage.checks.hold(f"the reason on record is {reason}", told)


def _documents(stage: Stage) -> str:
    return f"/studies/{stage.study_instance_uid}/documents"


def _read_letters(stage: Stage) -> list[str]:
    """What Hospital B gets when it reads every document of the study: the digests of their contents."""
    with stage.rest(HOSPITAL_B, Role.CLINICIAN) as hospital_b:
        listed = hospital_b.get(_documents(stage)).json()["documents"]
        contents = [hospital_b.get(f"{_documents(stage)}/{document['id']}/content").content for document in listed]
    return [sha256(content).hexdigest() for content in contents]


def _files(node: OrthancNode, study_instance_uid: str) -> dict[str, bytes]:
    """All files of a study as an archive gives them back, by SOP Instance UID."""
    with ThreadPoolExecutor(COMPARED_AT_ONCE) as pool:
        files = pool.map(node.download, node.instance_ids(study_instance_uid))
        return {_sop_instance_uid(file): file for file in files}


def _sop_instance_uid(file: bytes) -> str:
    return str(pydicom.dcmread(BytesIO(file), specific_tags=["SOPInstanceUID"], stop_before_pixels=True).SOPInstanceUID)
