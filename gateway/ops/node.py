"""A gateway of our own in a process of its own, as an operator would start it."""

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from gateway.config import Settings, load
from gateway.config.loading import ENVIRONMENT_PREFIX
from gateway.errors import PeerSystemError
from gateway.ops.counterparts import LOOPBACK, free_port
from gateway.ops.process import GuardedProcess

START_DEADLINE_S = 30.0
"""A cold Python on a busy machine takes a few seconds to import everything."""

POLL_S = 0.05


class GatewayNode:
    """`gateway serve` with its state, settings and log below one folder.

    `settings` are dotted keys with values as for `--set`; ports are chosen here unless given.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.config_file = folder / "gateway.toml"
        self.log_file = folder / "gateway.log"
        dicom_port = free_port()
        web_port = free_port(dicom_port)
        self._overrides = {"scp.port": str(dicom_port), "web.port": str(web_port), **(settings or {})}
        self._process: GuardedProcess | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.config_file.write_text(_toml(self._overrides), encoding="utf-8")
        self.settings: Settings = load(self.config_file, environ={})

    @property
    def dicom_port(self) -> int:
        return self.settings.scp.port

    @property
    def rest_url(self) -> str:
        return f"http://{LOOPBACK}:{self.settings.web.port}"

    @property
    def pid(self) -> int:
        """Process id; 0 while it does not run."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            PeerSystemError: it ended, or is not ready in time; the message repeats its last words.
        """
        argv = [sys.executable, "-m", "gateway", "serve", "--config", str(self.config_file)]
        not_ours = {name: "" for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)}  # empty means not set
        self._process = GuardedProcess(argv, log=self.log_file, env=not_ours, folder_to_remove=None)
        end = time.monotonic() + START_DEADLINE_S
        while not self._is_ready():
            if self._process.exit_code is not None or time.monotonic() > end:
                self.kill()
                said = self.log_file.read_text(errors="replace").strip().splitlines() or ["nothing"]
                raise PeerSystemError(f"the gateway did not start; it said: {said[-1]}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """SIGTERM: it drains and ends."""
        if self._process:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """SIGKILL: it ends without a word, as in a crash."""
        if self._process:
            self._process.stop(tidy=False)
            self._process = None

    def detach(self) -> int:
        """Let it outlive us; returns its process id."""
        pid = self.pid
        if self._process:
            self._process.detach()
            self._process = None
        return pid

    def _is_ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.rest_url}/readyz", timeout=1.0).is_success
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _toml(overrides: Mapping[str, str]) -> str:
    """A settings file with these dotted keys."""
    lines = []
    for key, value in overrides.items():
        is_bare = value.replace(".", "", 1).isdecimal() or value in ("true", "false")
        quoted = value if is_bare else json.dumps(value, ensure_ascii=False)  # a JSON string is a TOML string
        lines.append(f"{key} = {quoted}\n")
    return "".join(lines)
