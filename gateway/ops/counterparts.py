"""The real programs the gateway is shown and tested with: Orthanc and DCMTK.

Where they are looked for, and how they are run: on free ports, in a folder of their own, and never longer
than the process that started them.
"""

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from types import TracebackType
from typing import Any, Self

from gateway.errors import DeadlineExceeded, NotFound, PeerSystemError
from gateway.ops.process import GuardedProcess
from gateway.scu.orthanc import OrthancNode

LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_768)
"""Where free ports are chosen: below those that systems hand out for outgoing connections."""
PORT_ATTEMPTS = 100
"""Ports tried before giving up; more than a few taken ones in a row mean that something else is wrong."""
START_ATTEMPTS = 3
"""Starts of a program that finds its port taken by someone who came between."""
START_DEADLINE_S = 30.0
"""Until a program must answer; it takes far below one second on an idle machine."""
START_POLL_S = 0.2
"""Between two looks at whether a starting program has given up."""
STORESCP_ECHO_TIMEOUT_S = 5.0
"""For one C-ECHO on this machine."""
JOBS_HISTORY_SIZE = 1000
"""Finished jobs an Orthanc remembers, so that a result can still be fetched after many others."""
TOOL_TIMEOUT_S = 60.0
"""For one run of a command line tool."""

PORT_TAKEN = "already in use"
_CHECKOUT = Path(__file__).resolve().parents[2]


def find(name: str) -> Path | None:
    """The real program of this name, or None.

    Looked for in `$GATEWAY_COUNTERPARTS/bin`, in `.counterparts/bin` of the checkout, and in the system's
    own folders; not on the PATH, where a virtual environment may have programs of the same names as
    DCMTK's.
    """
    folders = [_CHECKOUT / ".counterparts" / "bin", Path("/usr/sbin"), Path("/usr/bin")]
    if chosen := os.environ.get("GATEWAY_COUNTERPARTS"):
        folders.insert(0, Path(chosen) / "bin")
    programs = (folder / name for folder in folders)
    return next((program for program in programs if program.is_file() and os.access(program, os.X_OK)), None)


def required(name: str) -> Path:
    """The real program of this name.

    Raises:
        NotFound: it is not here; the message says how to get it.
    """
    program = find(name)
    if program is None:
        raise NotFound(f"{name} is not here: run `make counterparts`, or install the packages orthanc and dcmtk")
    return program


def free_port(*taken: int) -> int:
    """A TCP port free on every interface and not among `taken`. It may be gone by the time it is used."""
    for _ in range(PORT_ATTEMPTS):
        port = PORTS.start + secrets.randbelow(len(PORTS))
        if port not in taken:
            with suppress(OSError), TCPServer(("", port), BaseRequestHandler):
                return port
    raise PeerSystemError(f"no free TCP port from {PORTS.start} to {PORTS.stop - 1}: what uses them all?")


def run_tool(
    name: str, *args: str | Path, timeout_s: float = TOOL_TIMEOUT_S, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command line tool to its end and return its exit code and what it printed.

    `env` is added to the environment, for instance TCP_NODELAY=1 for DCMTK.

    Raises:
        NotFound: the tool is not here.
        DeadlineExceeded: it was not done in time, and was killed.
    """
    try:
        return subprocess.run(  # noqa: S603  # by absolute path, without a shell
            [required(name), *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeadlineExceeded(f"{name} was not done after {timeout_s:g} s; is its peer alive?") from None


class _PortTaken(PeerSystemError):
    """Someone took the chosen port between the choice and the start."""


class _Counterpart(ABC):
    """What Orthanc and storescp have in common: a folder, a log, a process, another try on a taken port."""

    def __init__(self, program: str, *, env: Mapping[str, str] | None, scratch: Path | None, keep: bool) -> None:
        self.folder = Path()
        self._program = program
        self._env = dict(env or {})
        self._scratch = scratch
        self._keep = keep
        self._process: GuardedProcess | None = None

    @property
    def log(self) -> Path:
        """Everything the program printed."""
        return self.folder / f"{self._program}.log"

    @property
    def pid(self) -> int:
        """Process id; 0 while it does not run."""
        return self._process.pid if self._process else 0

    def start(self, deadline_s: float = START_DEADLINE_S) -> None:
        """Start the program and wait until it answers.

        Raises:
            NotFound: the program is not on this machine.
            PeerSystemError: it ended, or did not answer before the deadline.
        """
        program = required(self._program)
        self.folder = Path(tempfile.mkdtemp(prefix=f"gateway-{self._program}-", dir=self._scratch))
        try:
            for attempt in range(1, START_ATTEMPTS + 1):
                try:
                    self._start_once(program, deadline_s)
                    return
                except _PortTaken:
                    if attempt == START_ATTEMPTS:
                        raise
        except BaseException:
            self.stop()
            raise

    def _start_once(self, program: Path, deadline_s: float) -> None:
        argv = [program, *self._prepare()]
        remove = None if self._keep else self.folder
        self._process = GuardedProcess(argv, log=self.log, env=self._env, folder_to_remove=remove)
        end = time.monotonic() + deadline_s
        while True:
            if self._process.exit_code is not None:
                raise self._gave_up(self._process.exit_code)
            try:
                self._check()
                return
            except PeerSystemError:
                if time.monotonic() >= end:
                    raise

    def _gave_up(self, exit_code: int) -> PeerSystemError:
        words = self.log.read_text(errors="replace")
        self._release()
        if PORT_TAKEN in words:
            self.log.unlink()
            return _PortTaken(f"{self._program} found its port taken, {START_ATTEMPTS} times")
        lines = words.strip().splitlines() or ["nothing"]
        errors = [line for line in lines if line.startswith("E")]  # as both programs mark them
        last = (errors or lines)[-1]
        return PeerSystemError(f"{self._program} ended with exit code {exit_code}; it said: {last}")

    def stop(self) -> None:
        """End the program and remove its folder, unless that is to be kept. May be called again.

        Without a folder to keep it gets no time to tidy up: an Orthanc would take 3 s for it.
        """
        self._release()
        if self.folder != Path() and not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _release(self) -> None:
        if self._process is not None:
            self._process.stop(tidy=self._keep)
            self._process = None

    def detach(self) -> int:
        """Leave the program running, and its folder in place, after we have ended; return its process id."""
        pid = self.pid
        if self._process is not None:
            self._process.detach()
            self._process = None
        self._keep = True
        return pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _prepare(self) -> list[str | Path]:
        """Choose ports, write what the program reads, and return its arguments."""

    @abstractmethod
    def _check(self) -> None:
        """Return if the program answers, else raise PeerSystemError, after `START_POLL_S` at most."""


class OrthancServer(_Counterpart):
    """An Orthanc of our own, with a user and a random password that nothing but its configuration file holds.

    `settings` are added to its configuration and win over ours; `env` is added to its environment
    (TCP_NODELAY=1 makes its DICOM side send at once); `scratch` is where its folder is made. With `keep`
    the folder stays.

    Its HTTP server answers to this machine and the password only. Before Orthanc 1.12.10 it has no setting
    for the address to listen on, so strangers can connect, and are refused. The DICOM port is open on every
    interface in every version: anyone may send to it; only modalities registered with their own address may
    ask for anything.
    """

    def __init__(
        self,
        name: str,
        aet: str,
        *,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        scratch: Path | None = None,
        keep: bool = False,
    ) -> None:
        super().__init__("Orthanc", env=env, scratch=scratch, keep=keep)
        self.name = name
        self.aet = aet
        self.username = "gateway"
        self.password = secrets.token_urlsafe()
        self.http_port = 0
        self.dicom_port = 0
        self._settings = dict(settings or {})

    def __repr__(self) -> str:
        return f"OrthancServer({self.name!r}, {self.aet!r}, {self.http_url!r})"

    @property
    def http_url(self) -> str:
        return f"http://{LOOPBACK}:{self.http_port}/"

    def node(self) -> OrthancNode:
        """A new client for its HTTP interface; the caller closes it."""
        return OrthancNode(self.http_url, username=self.username, password=self.password)

    def _prepare(self) -> list[str | Path]:
        self.http_port = free_port()
        self.dicom_port = free_port(self.http_port)
        configuration = self.folder / "orthanc.json"
        configuration.unlink(missing_ok=True)
        descriptor = os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(self._configuration(), file, indent=2)
        return [configuration]

    def _configuration(self) -> dict[str, Any]:
        storage = str(self.folder / "storage")
        return {
            "Name": self.name,
            "StorageDirectory": storage,
            "IndexDirectory": storage,
            "Plugins": [],
            "Locale": "C.UTF-8",  # its default, en_US.UTF-8, is not on every machine
            "HttpPort": self.http_port,
            "HttpBindAddresses": [LOOPBACK],  # since 1.12.10; unknown settings are ignored
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {self.username: self.password},
            "WebDavEnabled": False,
            "DicomAet": self.aet,
            "DicomPort": self.dicom_port,
            "DicomCheckCalledAet": True,
            "DicomCheckModalityHost": True,
            "JobsHistorySize": JOBS_HISTORY_SIZE,
            **self._settings,
        }

    def _check(self) -> None:
        with self.node() as node:
            system = node.wait_until_ready(START_POLL_S)
        if (system.aet, system.dicom_port) != (self.aet, self.dicom_port):
            raise PeerSystemError(f"{self.http_url}: another Orthanc answers there")


class StoreScp(_Counterpart):
    """DCMTK's storescp: keeps what it is sent, bit by bit, in files named after their UIDs in `received`.

    It serves one association at a time, accepts every SOP class and transfer syntax, and any called AE
    title. `args` are added to its arguments. Its port is open on every interface.
    """

    def __init__(
        self,
        aet: str = "STORESCP",
        *args: str,
        env: Mapping[str, str] | None = None,
        scratch: Path | None = None,
        keep: bool = False,
    ) -> None:
        super().__init__("storescp", env=env, scratch=scratch, keep=keep)
        self.aet = aet
        self.port = 0
        self._args = args

    def __repr__(self) -> str:
        return f"StoreScp({self.aet!r}, port={self.port})"

    @property
    def received(self) -> Path:
        """The folder with the received files. One that is still being received is there already."""
        return self.folder / "received"

    def files(self) -> list[Path]:
        """What has been received, sorted by name."""
        return sorted(self.received.iterdir())

    def _prepare(self) -> list[str | Path]:
        self.port = free_port()
        self.received.mkdir(exist_ok=True)
        kept_as_sent = ("+B", "+xa", "-pm")
        return ["-aet", self.aet, *kept_as_sent, "-od", self.received, *self._args, str(self.port)]

    def _check(self) -> None:
        try:
            echo = run_tool("echoscu", "-aec", self.aet, LOOPBACK, str(self.port), timeout_s=STORESCP_ECHO_TIMEOUT_S)
        except DeadlineExceeded as error:
            raise PeerSystemError(f"storescp does not answer: {error}") from None
        if echo.returncode != 0:
            raise PeerSystemError(f"storescp does not answer on port {self.port}; see {self.log}")
