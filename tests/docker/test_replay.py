"""The image's build steps and its start, replayed without a container engine.

Every RUN and COPY that makes up the product is carried out as the Dockerfile says, below a folder that stands for `/`:
a fresh virtual environment of the system's Python, the locked packages, a wheel. Then the image's own command line runs
there as the image's user, who can write to the state alone; the image's own health check asks it; the image's own
signal stops it. Steps that change the system (apt-get, useradd) are left out; no others may exist.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.ops.counterparts import LOOPBACK, free_port
from tests.docker.dockerfile import REPOSITORY, Instruction, environment, instructions, of
from tests.wait import wait_until

SYSTEM_STEP = re.compile(r"(apt-get|rm -rf /var/lib/apt|groupadd|useradd|install --directory)\b")
"""Steps that need root and an image of their own."""

IMAGE_PATH = re.compile(r"(?<![\w.:/])/(?=(opt|src|etc/gateway|var/lib/gateway)\b)")
"""Where an absolute path of the image begins in a command; system paths such as /usr/bin are the machine's own."""

NO_INDEX = re.compile(r"from versions: none|connection broken|Network is unreachable|Name or service not known")
"""What pip says where no package index can be reached."""

STEP_TIMEOUT_S = 300.0
"""For one step; the slowest downloads and unpacks some 40 packages."""

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Image:
    """The replayed file system, the ports its node is given, and who runs it."""

    root: Path
    dicom_port: int
    web_port: int
    user: int | None

    def argv(self, instruction: Instruction) -> list[str]:
        """An instruction's command line, in this file system and with this node's HTTP port."""
        return [self.here(part).replace("8080", str(self.web_port)) for part in instruction.argv]

    def here(self, text: str) -> str:
        return IMAGE_PATH.sub(f"{self.root}/", text)

    def environment(self) -> dict[str, str]:
        """What ENV sets, and the settings that keep the node to this folder and to free ports on loopback."""
        variables = {name: self.here(value) for name, value in environment().items()}
        return {
            **variables,
            "PATH": variables["PATH"].replace("$PATH", "/usr/bin:/bin"),
            "HOME": f"{self.root}/var/lib/gateway",
            "GATEWAY__NODE__STATE_DIR": f"{self.root}/var/lib/gateway",
            "GATEWAY__SPOOL__FREE_SPACE_FLOOR_BYTES": str(16 << 20),
            "GATEWAY__SCP__HOST": LOOPBACK,
            "GATEWAY__SCP__PORT": str(self.dicom_port),
            "GATEWAY__WEB__HOST": LOOPBACK,
            "GATEWAY__WEB__PORT": str(self.web_port),
        }

    def start(self, argv: list[str]) -> subprocess.Popen[str]:
        """A program as the image's user, with its environment and nothing of ours."""
        return subprocess.Popen(
            argv,
            cwd=self.root / "var/lib/gateway",
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        )

    def run(self, argv: list[str]) -> tuple[int, str]:
        """The exit code of a program, and what it printed."""
        process = self.start(argv)
        output, _ = process.communicate(timeout=STEP_TIMEOUT_S)
        return process.returncode, output


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image's file system, built step by step; skips where there is no Python or package index to build it with."""
    if subprocess.run(
        ["/usr/bin/python3", "-c", "import ensurepip, venv"], capture_output=True, check=False
    ).returncode:
        pytest.skip("/usr/bin/python3 cannot make a virtual environment with pip (Debian: python3-venv)")
    root = Path(tempfile.mkdtemp(prefix="gateway-image-"))
    try:
        root.chmod(0o755)  # the image's user has to get in
        user = int(of("run", "USER")[0].value.partition(":")[0]) if os.geteuid() == 0 else None
        dicom_port = free_port()
        image = Image(root, dicom_port, free_port(dicom_port), user)
        _build(image)
        yield image
    finally:
        shutil.rmtree(root)


def _build(image: Image) -> None:
    """Carry out the steps of both stages; state comes last, with the image's user for its owner."""
    folder = "/"
    for instruction in instructions():
        match instruction.name:
            case "WORKDIR":
                folder = instruction.value
                Path(image.here(folder)).mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(image, shlex.split(instruction.value), folder)
            case "RUN":
                _run(image, instruction.commands, folder)
    state = Path(image.here(of("run", "VOLUME")[0].value))
    state.chmod(0o700)
    if image.user is not None:
        os.chown(state, image.user, image.user)


def _copy(image: Image, words: list[str], folder: str) -> None:
    if words[0].startswith("--from"):
        return  # from one stage into the other, which are one file system here
    *sources, target = words
    for source in sources:
        found = REPOSITORY / source
        into = Path(image.here(target if target.startswith("/") else f"{folder}/{target}"))
        place = into / found.name if target.endswith("/") else into
        place.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(found, place)


def _run(image: Image, commands: list[str], folder: str) -> None:
    mine = [command for command in commands if not SYSTEM_STEP.match(command)]
    assert not mine or mine == commands, "a step changes the system and the product at once"
    if not mine:
        return
    step = subprocess.run(
        ["/bin/sh", "-euc", image.here(" && ".join(mine))],
        cwd=image.here(folder),
        env={**_pip_settings(os.environ), "PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=STEP_TIMEOUT_S,
        check=False,
    )
    if step.returncode and NO_INDEX.search(step.stderr):
        pytest.skip("no package index can be reached to build the image's environment from")
    assert step.returncode == 0, f"{mine}\n{step.stdout}\n{step.stderr}"


def _pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """How this machine reaches a package index."""
    wanted = re.compile(r"PIP_|SSL_|REQUESTS_|XDG_|(HTTPS?|NO)_PROXY$", re.IGNORECASE)
    return {name: value for name, value in environ.items() if wanted.match(name)}


def _files(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_the_image_serves_is_healthy_and_drains(image: Image) -> None:
    (entrypoint,), (check,), (stop,) = (of("run", name) for name in ("ENTRYPOINT", "HEALTHCHECK", "STOPSIGNAL"))
    code = _files(image.root / "opt")
    assert image.run(image.argv(check))[0] != 0, "healthy before it runs"

    node = image.start(image.argv(entrypoint))
    try:
        wait_until(lambda: node.poll() is not None or image.run(image.argv(check))[0] == 0, START_TIMEOUT_S)
        registered = image.run([f"{image.root}/opt/gateway/bin/gateway", "institution", "add", "1.2.3", "Hospital"])
        node.send_signal(signal.Signals[stop.value])
        log, _ = node.communicate(timeout=STOP_TIMEOUT_S)
    finally:
        node.kill()
        node.wait()

    assert registered == (0, "Registered Hospital (1.2.3).\n")
    assert (node.returncode, '"event": "stopped"' in log.splitlines()[-1]) == (0, True), log
    assert _files(image.root / "opt") == code
    assert (image.root / "var/lib/gateway/gateway.db").is_file()


def test_only_the_state_can_be_written(image: Image) -> None:
    if image.user is None:
        pytest.skip("needs root, to run as the image's user")
    script = "import os, sys; print([p for p in sys.argv[1:] if os.access(p, os.W_OK)])"
    folders = [path for path in image.root.rglob("*") if path.is_dir() and "site-packages/" not in str(path)]

    _, writable = image.run(
        [f"{image.root}/opt/gateway/bin/python", "-I", "-c", script, str(image.root), *map(str, folders)]
    )

    assert "/opt/" not in writable
    assert "/etc/" not in writable
    assert "/var/lib/gateway" in writable
