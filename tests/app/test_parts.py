"""Parts of a node for commands: a database that is usable or says why not, documents beside a running node."""

import http.client
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.app.parts import database_of, dial_settings, open_database, open_documents, utc_now
from gateway.config import DatabaseSettings, DeliverySettings, SCPSettings, Settings, WebSettings
from gateway.documents.submission import Submission
from gateway.domain.access import Role
from gateway.domain.document import DocumentType
from gateway.errors import StoreUnavailable
from gateway.store.network import read_network
from gateway.store.tokens import create_token
from tests.documents.node import PDF, clinician
from tests.processes import environment
from tests.scp.raw import LOOPBACK
from tests.scp.site import HOSPITAL_A, RunningSite, running_site
from tests.scp.site import settings as quick_settings
from tests.wait import wait_until

STUDY = "1.2.840.1"
BOUNDARY = "half-way"
LETTER_BYTES = 2_000_000
"""More than an upload keeps in memory before it writes."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a node with REST."""
    return quick_settings(tmp_path / "state").model_copy(update={"web": WebSettings(port=0)})


class TestDatabase:
    def test_is_made_where_there_is_none(self, settings: Settings) -> None:
        database = open_database(settings)
        with database.read() as session:
            assert read_network(session).institutions == {}
        database.close()
        assert settings.node.state_dir.stat().st_mode & 0o777 == 0o700

    def test_of_another_version_is_left_alone_and_closed(self, settings: Settings) -> None:
        open_database(settings).close()
        path = settings.node.state_dir / "gateway.db"
        with sqlite3.connect(path) as file:
            file.execute("UPDATE alembic_version SET version_num = '9999'")
        file.close()
        before = path.read_bytes()
        with pytest.raises(StoreUnavailable, match="gateway db upgrade"):
            open_database(settings)
        assert path.read_bytes() == before
        assert open_files(path) == []

    def test_can_be_had_whatever_its_schema(self, settings: Settings) -> None:
        database = database_of(settings)
        assert not (settings.node.state_dir / "gateway.db").exists()
        database.close()

    def test_a_state_that_is_no_folder(self, settings: Settings) -> None:
        settings.node.state_dir.write_text("something else")
        with pytest.raises(StoreUnavailable, match=r"\(node\.state_dir\) cannot be used: File exists"):
            open_database(settings)

    def test_a_server_nobody_can_talk_to(self, settings: Settings) -> None:
        nowhere = DatabaseSettings(url=f"postgresql://u:secret@{LOOPBACK}:1/gateway")
        with pytest.raises(StoreUnavailable) as failed:
            open_database(settings.model_copy(update={"database": nowhere}))
        assert "secret" not in str(failed.value)

    def test_a_driver_that_is_not_installed(self, tmp_path: Path) -> None:
        """In a process of its own, where psycopg is told to use what there is not."""
        (tmp_path / "gateway.toml").write_text("")
        url = f"postgresql://u:secret@{LOOPBACK}:1/gateway"
        ended = subprocess.run(
            [sys.executable, "-m", "gateway", "status"],
            cwd=tmp_path,
            env=environment(GATEWAY__DATABASE__URL=url, PSYCOPG_IMPL="none-at-all"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stdout) == (1, "")
        (line,) = ended.stderr.splitlines()
        assert line.startswith("the driver of this database cannot be loaded")
        assert line.endswith("install the package's extra `postgresql`")


def open_files(path: Path) -> list[str]:
    """The descriptors this process has on a file."""
    links = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return [link for link in links if link.startswith(str(path))]


def test_peers_are_called_as_the_settings_say() -> None:
    settings = Settings(
        scp=SCPSettings(ae_title="ME"),
        delivery=DeliverySettings(connect_timeout_s=1.0, associate_timeout_s=2.0, response_timeout_s=3.0),
    )
    dial = dial_settings(settings)
    assert (dial.calling_ae_title, dial.connect_timeout_s) == ("ME", 1.0)
    assert (dial.associate_timeout_s, dial.response_timeout_s) == (2.0, 3.0)
    named = settings.model_copy(update={"delivery": DeliverySettings(calling_ae_title="OTHER")})
    assert dial_settings(named).calling_ae_title == "OTHER"


class Upload:
    """A document on its way over REST: its first half is there, the rest may come or not."""

    def __init__(self, port: int, token: str) -> None:
        fields = {"type": "REFERRAL", "patient_id": "P1"}
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()
        ]
        parts.append(
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="letter.pdf"\r\n'
            "Content-Type: application/pdf\r\n\r\n"
        )
        content = PDF[:9] + b"\n" * LETTER_BYTES + PDF[9:]
        body = "".join(parts).encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        self._rest = body[len(body) // 2 :]
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
        self._connection.putrequest("POST", f"/api/v1/studies/{STUDY}/documents")
        self._connection.putheader("Authorization", f"Bearer {token}")
        self._connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
        self._connection.putheader("Content-Length", str(len(body)))
        self._connection.endheaders()
        self._connection.send(body[: len(body) // 2])

    def finish(self) -> int:
        """Send the rest; returns the status of the answer."""
        self._connection.send(self._rest)
        with self._connection.getresponse() as response:
            return response.status

    def close(self) -> None:
        self._connection.close()


class TestDocumentsBesideANode:
    @pytest.fixture
    def port(self, settings: Settings) -> Iterator[int]:
        """Where the REST interface of a running node is."""
        site: RunningSite
        with running_site(settings, 1) as site:
            assert site.gateway is not None
            assert site.gateway.web_port is not None
            yield site.gateway.web_port

    def test_its_unfinished_uploads_are_left_alone(self, settings: Settings, port: int) -> None:
        parts = settings.blob_dir / "part"
        with closing(Upload(port, token(settings))) as upload:
            (part,) = wait_until(lambda: list(parts.iterdir()))
            wait_until(lambda: part.stat().st_size)
            with open_documents(settings) as documents:
                assert documents.listing(clinician(HOSPITAL_A), STUDY) == []
                assert list(parts.iterdir()) == [part]
            assert upload.finish() == 201
        with open_documents(settings) as documents:
            (found,) = documents.listing(clinician(HOSPITAL_A), STUDY)
        assert found.size_bytes == LETTER_BYTES + len(PDF)

    def test_what_is_attached_beside_it_is_there_for_all(self, settings: Settings, port: int) -> None:
        with open_documents(settings) as documents:
            content = documents.blobs.writer()
            content.write(PDF)
            submission = Submission(STUDY, DocumentType.REFERRAL, patient_id="P1")
            attached = documents.attach(clinician(HOSPITAL_A), submission, content)
        path = f"/api/v1/studies/{STUDY}/documents/{attached.id}/content"
        with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=10)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token(settings)}"})
            assert connection.getresponse().read() == PDF


def test_documents_leave_the_free_space_that_the_node_keeps(settings: Settings) -> None:
    spool = settings.spool.model_copy(update={"free_space_floor_bytes": 1 << 62})
    with open_documents(settings.model_copy(update={"spool": spool})) as documents:
        content = documents.blobs.writer()
        with pytest.raises(StoreUnavailable, match="below its floor"):
            content.write(PDF)
        content.abandon()


def test_documents_without_a_node_leave_no_thread_behind(settings: Settings) -> None:
    before = set(threading.enumerate())
    with open_documents(settings) as documents:
        assert documents.limit_bytes == settings.documents.limit_bytes
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) == before


def token(settings: Settings) -> str:
    """A token of a clinician of hospital A."""
    database = open_database(settings)
    with database.write() as session:
        _, text = create_token(session, HOSPITAL_A, Role.CLINICIAN, label="test", now=utc_now(), expires_at=None)
    database.close()
    return text
