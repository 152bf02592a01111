"""Letters over HTTP: handed in by one hospital, read by another while consent is in force."""

import concurrent.futures
import hashlib
import io
from base64 import b64decode
from datetime import UTC, datetime, timedelta

import httpx
import pypdf
import pytest

from gateway.domain.access import Role
from gateway.domain.document import DocumentType
from gateway.domain.institution import ParticipationState
from gateway.store.decisions import list_decisions
from tests.documents.node import CDA, LIMIT_BYTES, PDF, new_patient_id, new_uid, until
from tests.web.serving import Hospital, Served, documents_of, is_problem

UNKNOWN_ID = "f" * 32


def a_letter(pages: int = 3) -> bytes:
    """A PDF that pypdf wrote, with something to read back."""
    writer = pypdf.PdfWriter()
    for _ in range(pages):
        writer.add_blank_page(width=595, height=842)
    writer.add_metadata({"/Title": "Referral"})
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


class TestAttach:
    def test_the_answer_describes_the_document(self, a: Hospital) -> None:
        patient = a.patient()
        study = a.served.node.study(patient)
        letter = a_letter()
        before = datetime.now(UTC)
        response = a.attach(study, letter, title="흉부 CT 의뢰")
        body = response.json()

        assert response.status_code == 201
        assert response.headers["location"] == f"{documents_of(study)}/{body['id']}"
        assert before - timedelta(seconds=1) < datetime.fromisoformat(body.pop("created_at")) <= datetime.now(UTC)
        assert body == {
            "id": body["id"],
            "study_instance_uid": study,
            "type": "REFERRAL",
            "type_korean": "진료의뢰서",
            "title": "흉부 CT 의뢰",
            "media_type": "application/pdf",
            "size_bytes": len(letter),
            "sha256": hashlib.sha256(letter).hexdigest(),
            "author_oid": a.oid,
        }
        assert patient.patient_id not in response.text

    @pytest.mark.parametrize("kind", DocumentType)
    def test_every_type(self, a: Hospital, kind: DocumentType) -> None:
        response = a.attach(new_uid(), patient_id=new_patient_id(), type=kind.value)

        assert response.json()["title"] == kind.korean

    def test_a_cda_document(self, a: Hospital) -> None:
        files = {"file": ("letter.xml", CDA, "text/xml")}
        data = {"type": "CARE_RECORD_SUMMARY", "patient_id": new_patient_id()}
        response = a.clinician.post(documents_of(new_uid()), data=data, files=files)
        content = a.clinician.get(f"{response.headers['location']}/content")

        assert content.content == CDA
        assert content.headers["content-type"].startswith("text/xml")
        assert 'filename="document.xml"' in content.headers["content-disposition"]

    def test_the_desk_hands_in_consent_forms_only(self, a: Hospital) -> None:
        study = new_uid()
        for kind in DocumentType:
            data = {"type": kind.value, "patient_id": new_patient_id()}
            response = a.desk.post(documents_of(study), data=data, files={"file": ("x", PDF)})
            if kind in (DocumentType.CONSENT, DocumentType.CONSENT_WITHDRAWAL):
                assert response.status_code == 201
            else:
                assert is_problem(response, 403, "not-permitted")

    def test_a_study_nobody_may_know_needs_the_patient(self, a: Hospital, b: Hospital) -> None:
        hidden = a.served.node.study(a.patient())
        answers = [b.attach(study) for study in (hidden, new_uid())]

        assert is_problem(answers[0], 422, "invalid-request", "patient_id")
        assert answers[0].content == answers[1].content

    def test_another_patient_than_the_study_s(self, a: Hospital) -> None:
        study = a.served.node.study(a.patient())

        assert is_problem(a.attach(study, patient_id=new_patient_id()), 422, "invalid-request", "patient_id")

    def test_a_suspended_institution(self, a: Hospital) -> None:
        a.served.node.participate(a.oid, ParticipationState.SUSPENDED)

        assert is_problem(a.attach(new_uid(), patient_id=new_patient_id()), 403, "not-permitted")

    @pytest.mark.parametrize("study", ["abc", "1.2.a", "1..2", ".1", "1.", "1" * 65, "1.2.3%0A", "..%2f..%2fetc"])
    def test_what_is_no_uid(self, a: Hospital, study: str) -> None:
        response = a.attach(study, patient_id=new_patient_id())

        assert response.status_code == 404 or is_problem(response, 422, "invalid-request", "StudyInstanceUID")

    def test_eight_at_once(self, a: Hospital) -> None:
        study, patient_id = new_uid(), new_patient_id()
        letters = [PDF.replace(b"1 0 obj", b"%d 0 obj" % number) * 1000 for number in range(8)]
        client = a.clinician
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            paths = list(pool.map(lambda letter: a.attached(study, letter, patient_id=patient_id), letters))
        read = [client.get(f"{path}/content").content for path in paths]

        assert read == letters
        assert len(a.clinician.get(documents_of(study)).json()["documents"]) == 8
        assert a.served.part_files() == []


class TestRead:
    def test_the_author_s_hospital_reads_what_it_wrote(self, a: Hospital) -> None:
        letter = a_letter(pages=5)
        path = a.attached(a.served.node.study(a.patient()), letter)
        response = a.clinician.get(f"{path}/content")
        digest = b64decode(response.headers["repr-digest"].removeprefix("sha-256=:").removesuffix(":"))

        assert response.content == letter
        assert len(pypdf.PdfReader(io.BytesIO(response.content)).pages) == 5
        assert digest == hashlib.sha256(letter).digest()
        assert int(response.headers["content-length"]) == len(letter)
        assert response.headers["content-type"] == "application/pdf"
        assert response.headers["content-disposition"] == 'attachment; filename="document.pdf"'
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert "sandbox" in response.headers["content-security-policy"]

    def test_a_large_letter(self, a: Hospital) -> None:
        letter = b"%PDF-1.7" + b"\x00\r\n--\xff" * 150_000 + b"%%EOF"
        path = a.attached(new_uid(), letter, patient_id=new_patient_id())

        assert a.clinician.get(f"{path}/content").content == letter

    def test_consent_opens_and_withdrawal_closes(self, a: Hospital, b: Hospital) -> None:
        patient = a.patient()
        study = a.served.node.study(patient)
        letter = a_letter()
        path = a.attached(study, letter)

        def as_seen_by_b() -> tuple[int, int, bytes, int]:
            listed = b.clinician.get(documents_of(study)).json()["documents"]
            content = b.clinician.get(f"{path}/content")
            return b.clinician.get(path).status_code, content.status_code, content.content, len(listed)

        assert as_seen_by_b()[:2] == (404, 404)
        assert as_seen_by_b()[3] == 0
        assert a.consent(patient).status_code == 201
        assert as_seen_by_b() == (200, 200, letter, 1)
        assert a.consent(patient, "ENTIRE_WITHDRAWAL").status_code == 201
        assert as_seen_by_b()[:2] == (404, 404)
        assert as_seen_by_b()[3] == 0

    def test_no_and_nothing_are_the_same_answer(self, a: Hospital, b: Hospital) -> None:
        patient = a.patient()
        study = a.served.node.study(patient)
        path = a.attached(study)
        a.consent(patient)
        a.consent(patient, "ENTIRE_WITHDRAWAL")
        for suffix in ("", "/content"):
            places = [path, f"{documents_of(study)}/{UNKNOWN_ID}", f"{documents_of(new_uid())}/{UNKNOWN_ID}"]
            answers = [b.clinician.get(f"{place}{suffix}") for place in places]

            assert is_problem(answers[0], 404, "document-not-available")
            assert len({answer.content for answer in answers}) == 1
            assert len({tuple(visible(answer)) for answer in answers}) == 1
        listings = [b.clinician.get(documents_of(where)) for where in (study, new_uid())]
        assert listings[0].content == listings[1].content

    def test_both_must_take_part(self, a: Hospital, b: Hospital) -> None:
        patient = a.patient()
        path = a.attached(a.served.node.study(patient))
        a.consent(patient)
        for oid in (a.oid, b.oid):
            a.served.node.participate(oid, ParticipationState.SUSPENDED)
            assert b.clinician.get(f"{path}/content").status_code == 404
            assert a.clinician.get(f"{path}/content").status_code == 200
            a.served.node.participate(oid, ParticipationState.OPERATING)
            assert b.clinician.get(f"{path}/content").status_code == 200

    def test_a_reply_reaches_the_hospital_that_asked(self, a: Hospital, b: Hospital) -> None:
        patient = a.patient()
        study = a.served.node.study(patient)
        a.consent(patient)
        reply = b.attached(study, type="RETURN")

        assert a.clinician.get(f"{reply}/content").content == PDF
        assert a.clinician.get(documents_of(study)).json()["documents"][0]["author_oid"] == b.oid

    def test_a_download_is_decided_on_record(self, a: Hospital, b: Hospital) -> None:
        patient = a.patient()
        study = a.served.node.study(patient)
        path = a.attached(study)
        b.clinician.get(f"{path}/content")
        a.consent(patient)
        b.clinician.get(f"{path}/content")

        def recorded() -> set[tuple[str, str, str | None]]:
            with a.served.node.database.read() as session:
                found = list_decisions(session, study_instance_uid=study, limit_count=9)
            return {(d.destination_oid, d.verdict.reason.value, d.document_id) for d in found}

        document_id = path.rpartition("/")[2]
        expected = {(b.oid, "no_consent", document_id), (b.oid, "consent_in_force", document_id)}
        until(lambda: recorded() == expected)


class TestBadInput:
    @pytest.mark.parametrize(
        ("fields", "files", "field"),
        [
            ({"patient_id": "1"}, [("file", ("x", PDF))], "type"),
            ({"type": "LETTER", "patient_id": "1"}, [("file", ("x", PDF))], "type"),
            ({"type": "RETURN", "patient_id": "1"}, [("other", ("x", PDF))], "form"),
            ({"type": "RETURN", "patient_id": "1", "extra": "x"}, [("file", ("x", PDF))], "form"),
            ({"type": "RETURN", "patient_id": "1"}, [("file", ("x", PDF)), ("file", ("y", PDF))], "file"),
            ({"type": "RETURN", "patient_id": ["1", "2"]}, [("file", ("x", PDF))], "patient_id"),
            ({"type": "RETURN", "patient_id": "1", "title": "x" * 5000}, [("file", ("x", PDF))], "title"),
            ({"type": "RETURN", "patient_id": "1", "title": "x" * 201}, [("file", ("x", PDF))], "title"),
            ({"type": "RETURN", "patient_id": "1", "title": "a\u202eb"}, [("file", ("x", PDF))], "title"),
            ({"type": "RETURN", "patient_id": "1", "title": "900101-1234567"}, [("file", ("x", PDF))], "title"),
            ({"type": "RETURN", "patient_id": "9001011234567"}, [("file", ("x", PDF))], "patient_id"),
            ({"type": "RETURN", "patient_id": "1"}, [("file", ("900101-1234567.pdf", PDF))], "file"),
            ({"type": "RETURN", "patient_id": "1"}, [("file", ("x.pdf", b"GIF89a"))], "file"),
            ({"type": "RETURN", "patient_id": "1"}, [("file", ("x.pdf", PDF, "image/png"))], "file"),
            ({"type": "RETURN", "patient_id": "1"}, [("file", ("x.pdf", b""))], "file"),
            ({"type": "RETURN", "patient_id": "1\\2"}, [("file", ("x.pdf", PDF))], "patient_id"),
        ],
    )
    def test_the_field_is_named(
        self,
        a: Hospital,
        fields: dict[str, str],
        files: list[tuple[str, tuple[str, bytes]]],
        field: str,
    ) -> None:
        study = new_uid()
        response = a.clinician.post(documents_of(study), data=fields, files=files)

        assert is_problem(response, 422, "invalid-request", field)
        assert "900101" not in response.text
        assert a.clinician.get(documents_of(study)).json() == {"documents": []}
        assert a.served.part_files() == []

    @pytest.mark.parametrize("name", ["../../../../etc/passwd", "/etc/passwd", "a\0b.pdf", "x" * 3000, "..\\..\\x"])
    def test_the_name_of_the_file_is_never_a_path(self, a: Hospital, name: str) -> None:
        data = {"type": "RETURN", "patient_id": new_patient_id()}
        response = a.clinician.post(documents_of(new_uid()), data=data, files={"file": (name, PDF)})
        inside = [path.name for path in (a.served.node.directory / "blobs").rglob("*") if path.is_file()]

        assert response.status_code == 201
        assert response.json()["sha256"] in inside
        assert name not in response.text

    def test_a_field_after_the_file(self, a: Hospital) -> None:
        body = (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + PDF + b"\r\n"
            b'--b\r\nContent-Disposition: form-data; name="patient_id"\r\n\r\n1\r\n'
            b'--b\r\nContent-Disposition: form-data; name="type"\r\n\r\nRETURN\r\n--b--\r\n'
        )
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        response = a.clinician.post(documents_of(new_uid()), content=body, headers=headers)

        assert response.status_code == 201
        assert response.json()["sha256"] == hashlib.sha256(PDF).hexdigest()

    def test_a_form_cut_off(self, a: Hospital) -> None:
        body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + PDF
        headers = {"Content-Type": "multipart/form-data; boundary=b"}

        for cut in (len(body), 40, 3, 0):
            response = a.clinician.post(documents_of(new_uid()), content=body[:cut], headers=headers)
            assert is_problem(response, 400, "malformed")
        assert a.served.part_files() == []

    @pytest.mark.parametrize(
        ("content_type", "status", "kind"),
        [
            ("application/json", 415, "unsupported-media-type"),
            ("application/pdf", 415, "unsupported-media-type"),
            ("multipart/mixed; boundary=b", 415, "unsupported-media-type"),
            ("multipart/form-data", 400, "malformed"),
            ("multipart/form-data; boundary=" + "b" * 71, 400, "malformed"),
        ],
    )
    def test_a_body_of_another_kind(self, a: Hospital, content_type: str, status: int, kind: str) -> None:
        headers = {"Content-Type": content_type}
        response = a.clinician.post(documents_of(new_uid()), content=b"x" * 100, headers=headers)

        assert is_problem(response, status, kind)

    def test_a_document_at_the_limit_and_one_above(self, a: Hospital) -> None:
        at = PDF + b" " * (LIMIT_BYTES - len(PDF) - 6) + b"%%EOF\n"
        fields = {"patient_id": new_patient_id()}

        assert len(at) == LIMIT_BYTES
        assert a.attach(new_uid(), at, **fields).status_code == 201
        assert is_problem(a.attach(new_uid(), at + b"\n", **fields), 413, "too-large")
        assert is_problem(a.attach(new_uid(), at * 5, **fields), 413, "too-large")
        assert a.served.part_files() == []

    def test_a_document_above_the_limit_of_unannounced_length(self, a: Hospital) -> None:
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        sent = 0

        def body():  # type: ignore[no-untyped-def]
            nonlocal sent
            yield head
            while True:
                sent += 65536
                yield b"x" * 65536

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        try:
            response = a.clinician.post(documents_of(new_uid()), content=body(), headers=headers)
        except (httpx.WriteError, httpx.ReadError):  # endless senders are cut off in the end
            response = None

        assert response is None or is_problem(response, 413, "too-large")
        assert sent < 40 * LIMIT_BYTES
        until(lambda: a.served.part_files() == [])

    def test_a_sender_that_goes_away(self, a: Hospital, served: Served) -> None:
        _, token = served.node.token(a.oid, Role.CLINICIAN)
        study = new_uid()

        def body():  # type: ignore[no-untyped-def]
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + PDF
            yield b"x" * 400_000
            until(lambda: len(served.part_files()) == 1)
            raise ConnectionAbortedError

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        with served.client(token) as client, pytest.raises(ConnectionAbortedError):
            client.post(documents_of(study), content=body(), headers=headers)

        until(lambda: served.part_files() == [])
        assert a.clinician.get(documents_of(study)).json() == {"documents": []}


def visible(response: httpx.Response) -> list[tuple[str, str]]:
    """The headers but the time of day."""
    return [(name, value) for name, value in response.headers.items() if name != "date"]
