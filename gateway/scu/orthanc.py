"""One Orthanc as the gateway uses it over HTTP: a strict, typed adapter over orthanc-api-client.

The library underneath can take a failed request for a finished one, sends a POST again when an answer is
lost, and waits for ever by default. Here every call either returns what was asked for or raises
`PeerSystemError`; a POST is sent once; every wait has an end. Works with Orthanc 1.10.1 and later.
"""

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Never, Self
from urllib.parse import quote, urlsplit, urlunsplit

from requests import Response
from requests.exceptions import RequestException

from gateway.errors import InputError, PeerSystemError
from gateway.scu.orthanc_answers import Job, JobState, Level, Statistics, System, printable
from gateway.scu.orthanc_http import HTTP_SUCCESS, HTTP_UNAUTHORIZED, Refused, adapter, explain

with warnings.catch_warnings():
    # Invalid escapes in the library's patterns, which Python tells whoever compiles it first.
    warnings.simplefilter("ignore", SyntaxWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    from orthanc_api_client import OrthancApiClient
    from orthanc_api_client.exceptions import OrthancApiException

__all__ = ["Job", "JobState", "Level", "OrthancNode", "Statistics", "System"]

CONNECT_TIMEOUT_S = 5.0
"""To get a connection; a host in the same network answers in milliseconds."""
READ_TIMEOUT_S = 60.0
"""Between two reads of an answer; Orthanc is silent while it reads a large instance from a slow disk."""
READY_POLL_S = 0.05
"""Between two looks at an Orthanc that is starting; it takes some 100 ms."""
JOB_POLL_S = (0.05, 0.5)
"""First and longest pause between two looks at a job: quick for one instance, light for a thousand."""

_FAILURES = (
    Refused,
    RequestException,
    OrthancApiException,
    OSError,
    KeyError,  # this and the rest: an answer of another shape than expected, read here or in the library
    TypeError,
    AttributeError,
    ValueError,
)


class OrthancNode:
    """An Orthanc server at a URL. May be shared by threads; each request is on its own.

    Identifiers named `..._id` are Orthanc's own; UIDs are DICOM's. Every method raises `PeerSystemError` when
    the server cannot be reached, refuses, fails, or answers something else than an Orthanc does.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str = "",
        password: str = "",
        ca_file: Path | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        """Make the adapter; nothing is sent yet.

        `url` may have a path, with or without a slash at its end. `ca_file` holds the certificates to trust
        for https instead of the system's.

        Raises:
            InputError: the URL is not one of an HTTP server, or holds credentials, which messages would show.
        """
        self.url = _normalised(url)
        self._client = _StrictClient(
            self.url, username, password, timeout_s=(connect_timeout_s, read_timeout_s), ca_file=ca_file
        )

    def __repr__(self) -> str:
        return f"OrthancNode({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    # The server

    def wait_until_ready(self, deadline_s: float) -> System:
        """Wait until the server answers, at most so many seconds; a refused password ends it at once."""
        end = time.monotonic() + deadline_s
        with self._asking(f"for up to {deadline_s:g} s whether it is ready"):
            while True:
                try:
                    remaining_s = max(end - time.monotonic(), READY_POLL_S)
                    return System.read(self._client.get("system", timeout=remaining_s).json())
                except (Refused, RequestException) as error:
                    refused = isinstance(error, Refused) and error.status == HTTP_UNAUTHORIZED
                    if refused or time.monotonic() >= end:
                        raise
                time.sleep(READY_POLL_S)

    def system(self) -> System:
        """Version, name and DICOM address."""
        with self._asking("for its system information"):
            return System.read(self._json("system"))

    def statistics(self) -> Statistics:
        """Counts of what it holds, and its size on disk."""
        with self._asking("for its statistics"):
            return Statistics.read(self._json("statistics"))

    def count_instances(self) -> int:
        """How many instances it holds."""
        return self.statistics().instances

    def delete_all(self) -> None:
        """Remove every patient with everything below."""
        with self._asking("to delete everything"):
            patients = [str(patient_id) for patient_id in self._json("patients")]
            if patients:
                self._client.post("tools/bulk-delete", json={"Resources": patients})

    # Instances

    def upload(self, file: bytes) -> str:
        """Store one DICOM file (PS3.10) and return the id of its instance, also where it was there before."""
        with self._asking("to store an instance"):
            answer = self._client.post("instances", data=file).json()
            status = str(answer["Status"])
            if status not in ("Success", "AlreadyStored"):
                raise PeerSystemError(f"{self.url}: an instance was not stored: {printable(status)}")
            return str(answer["ID"])

    def download(self, instance_id: str) -> bytes:
        """The instance as a DICOM file (PS3.10), complete: as long as its announced length."""
        path = f"instances/{_segment(instance_id)}/file"
        with self._asking("for an instance"):
            response = self._client.get(path, headers={"Accept-Encoding": "identity"})
            content = bytes(response.content)
            announced = response.headers.get("Content-Length")
            if announced is None and response.headers.get("Transfer-Encoding", "").lower() != "chunked":
                raise PeerSystemError(f"{self.url}: an instance came without its length; it may be cut short")
            if not content or (announced is not None and int(announced) != len(content)):
                raise PeerSystemError(f"{self.url}: an instance came with {len(content)} of {announced} bytes")
            return content

    def lookup(self, level: Level, uid: str) -> tuple[str, ...]:
        """Ids of the resources of this level with this UID: more than one where patients share it."""
        with self._asking(f"for a {level.value.lower()} by its UID"):
            return tuple(self._client.lookup(uid, filter=level.value))

    def instance_ids(self, study_instance_uid: str) -> tuple[str, ...]:
        """Ids of all instances of a study, series by series; none where the study is not there."""
        found: list[str] = []
        with self._asking("for the instances of a study"):
            for study_id in self.lookup(Level.STUDY, study_instance_uid):
                for series_id in self._json(f"studies/{_segment(study_id)}")["Series"]:
                    found.extend(map(str, self._json(f"series/{_segment(series_id)}")["Instances"]))
        return tuple(found)

    # Other modalities

    def register_modality(self, name: str, aet: str, host: str, port: int) -> None:
        """Make a DICOM peer known to the server under a symbolic name, or change it.

        The server forgets it at its next start, unless it is configured to keep modalities in its database.
        """
        with self._asking(f"to register the modality {name}"):
            self._client.put(f"modalities/{_segment(name)}", json={"AET": aet, "Host": host, "Port": port})

    def echo(self, modality: str) -> None:
        """Let the server send a C-ECHO to a registered modality."""
        with self._asking(f"for a C-ECHO to {modality}"):
            self._client.post(f"modalities/{_segment(modality)}/echo", json={})

    def submit(self, modality: str, resource_ids: Sequence[str]) -> str:
        """Let the server send resources of any level to a registered modality; its job's id, at once.

        Raises:
            InputError: nothing to send, which Orthanc would call a success.
        """
        if not resource_ids:
            raise InputError(f"sending to {modality}: no resources given")
        with self._asking(f"to send to {modality}"):
            return str(self._client.modalities.send_async(_segment(modality), list(resource_ids)).orthanc_id)

    def send(self, modality: str, resource_ids: Sequence[str], timeout_s: float) -> Job:
        """`submit` and wait until all of it has been sent; when the time is over the job is cancelled.

        Raises:
            PeerSystemError: also when the job failed, with Orthanc's reason.
        """
        job = self.wait_for_job(self.submit(modality, resource_ids), timeout_s)
        if job.state is not JobState.SUCCESS:
            raise PeerSystemError(f"{self.url}: sending to {modality} failed: {job.error}")
        return job

    # Jobs

    def job(self, job_id: str) -> Job:
        """The job as it is now. The server forgets finished ones beyond its JobsHistorySize."""
        with self._asking("for a job"):
            return Job.read(self._json(f"jobs/{_segment(job_id)}"))

    def wait_for_job(self, job_id: str, timeout_s: float) -> Job:
        """The job in its final state, be it success or failure; when the time is over it is cancelled.

        Raises:
            PeerSystemError: also when the time is over.
        """
        end = time.monotonic() + timeout_s
        pause_s, longest_s = JOB_POLL_S
        while not (job := self.job(job_id)).state.final:
            if time.monotonic() >= end:
                self._cancel(job_id)
                raise PeerSystemError(
                    f"{self.url}: a job, at {job.progress_percent}% after {timeout_s:g} s, was cancelled"
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)
        return job

    def _cancel(self, job_id: str) -> None:
        with self._asking("to cancel a job"):
            self._client.post(f"jobs/{_segment(job_id)}/cancel", json={})

    # Requests

    def _json(self, endpoint: str) -> Any:
        return self._client.get(endpoint).json()

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Where the library's errors end. They may hold the server's words, so ours do not show them."""
        try:
            yield
        except _FAILURES as error:
            raise PeerSystemError(f"{self.url}: asked {what}: {explain(error)}") from None


class _StrictClient(OrthancApiClient):  # type: ignore[misc]  # the library carries no types
    """The library's client, except that every request returns an answer that is a success, or raises."""

    def __init__(
        self, url: str, username: str, password: str, *, timeout_s: tuple[float, float], ca_file: Path | None
    ) -> None:
        """`url` ends with a slash. `timeout_s` is for connecting and between two reads."""
        super().__init__(url, user=username or None, pwd=password or None)
        self._timeout_s = timeout_s
        session = self._http_session
        session.trust_env = False  # no proxy and no other credentials from the environment
        session.max_redirects = 0  # following one would turn a POST into a GET
        session.verify = str(ca_file) if ca_file else True
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter())

    def get(self, endpoint: str, **options: Any) -> Response:
        return _answer(super().get(endpoint, **self._with_timeout(options)))

    def post(self, endpoint: str, **options: Any) -> Response:
        return _answer(super().post(endpoint, **self._with_timeout(options)))

    def put(self, endpoint: str, **options: Any) -> Response:
        return _answer(super().put(endpoint, **self._with_timeout(options)))

    def delete(self, endpoint: str, **options: Any) -> Response:
        return _answer(super().delete(endpoint, **self._with_timeout(options)))

    def _with_timeout(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"timeout": self._timeout_s, **options}

    def _translate_exception(self, request_exception: RequestException, url: str) -> Never:
        raise request_exception  # the library lets those it does not know pass for an answer

    def _raise_or_retry_on_errors(self, response: Response, url: str) -> bool:
        if response.status_code not in HTTP_SUCCESS:
            raise Refused(response)
        return False


def _answer(response: Response | None) -> Response:
    if response is None:
        raise TypeError("no answer")
    return response


def _normalised(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise InputError("Orthanc URL: expected http(s)://host[:port][/path]") from error
    if not valid or parts.query or parts.fragment:
        raise InputError("Orthanc URL: expected http(s)://host[:port][/path]")
    if "@" in parts.netloc:
        raise InputError("Orthanc URL: give user and password separately, not in the URL")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + "/", "", ""))


def _segment(text: str) -> str:
    """One segment of a path, whatever the text holds."""
    if text in ("", ".", ".."):
        raise InputError("Orthanc: expected an identifier or a name")
    return quote(text, safe="")
