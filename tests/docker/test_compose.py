"""The composition: hardened, without default passwords, reachable from this machine alone.

Its text is looked at line by line, as in a review; where a `docker compose` is at hand, it reads the file too.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.config import load
from tests.docker.dockerfile import DOCKER, of

COMPOSE = (DOCKER / "compose.yml").read_text(encoding="utf-8")
PASSWORDS = ("ORTHANC_A_PASSWORD", "ORTHANC_B_PASSWORD")


def service(name: str) -> str:
    """The lines of one service, without comments."""
    lines = [re.sub(r"\s*#.*", "", line) for line in COMPOSE.splitlines()]
    start = lines.index(f"  {name}:")
    block = []
    for line in lines[start + 1 :]:
        if line and not line.startswith("   "):
            break
        block.append(line)
    return "\n".join(block)


@pytest.mark.parametrize(
    "line",
    [
        "read_only: true",
        "cap_drop: [ALL]",
        'security_opt: ["no-new-privileges:true"]',
        "- gateway-state:/var/lib/gateway",
        "- ./gateway.toml:/etc/gateway/gateway.toml:ro",
    ],
)
def test_the_gateway_is_hardened(line: str) -> None:
    assert line in service("gateway")


def test_it_runs_as_the_user_of_the_image() -> None:
    assert f'user: "{of("run", "USER")[0].value}"' in service("gateway")


def test_nothing_is_privileged() -> None:
    assert re.findall(r"privileged: true|network_mode: *host|docker\.sock|cap_add", COMPOSE) == []


def test_ports_are_published_on_loopback_only() -> None:
    published = re.findall(r'^ +- "?([0-9.:]+:[0-9]+:[0-9]+|[0-9]+:[0-9]+)"?', COMPOSE, re.MULTILINE)

    assert len(published) == 4
    assert [one for one in published if not one.startswith("127.0.0.1:")] == []


def test_dicom_between_the_three_has_no_way_out() -> None:
    assert re.search(r"^  exchange:.*\n    internal: true$", COMPOSE, re.MULTILINE)


def test_images_of_others_are_of_one_version() -> None:
    images = re.findall(r"image: (?:&\S+ )?([a-z][^\s*]*)", COMPOSE)

    assert len(images) == 2
    assert [one for one in images if not re.search(r":(local|\d+\.\d+\.\d+)$", one)] == []


@pytest.mark.parametrize("name", PASSWORDS)
def test_passwords_must_be_set(name: str) -> None:
    uses = re.findall(r"\$\{" + name + r"([^}]*)\}", COMPOSE)

    assert uses
    assert all(use.startswith(":?") for use in uses)


def test_no_password_is_in_the_repository() -> None:
    example = (DOCKER / ".env.example").read_text(encoding="utf-8").splitlines()

    assert [line for line in example if line and not line.startswith("#")] == [f"{name}=" for name in PASSWORDS]
    assert set(re.findall(r"\$\{(\w+)", COMPOSE)) == set(PASSWORDS)


def test_draining_is_never_cut_off() -> None:
    grace_s = re.search(r"stop_grace_period: (\d+)s", service("gateway"))

    assert grace_s
    assert int(grace_s[1]) > load(DOCKER / "gateway.toml", environ={}).scp.drain_timeout_s


def docker_compose(*arguments: str, env_file: Path) -> subprocess.CompletedProcess[str]:
    """`docker compose` on the file; only what reads it, nothing is started."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not here")
    return subprocess.run(
        [docker, "compose", "--env-file", env_file, "--file", DOCKER / "compose.yml", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_docker_compose_reads_it(tmp_path: Path) -> None:
    given, empty = tmp_path / "given", tmp_path / "empty"
    given.write_text("".join(f"{name}=madeup\n" for name in PASSWORDS), encoding="utf-8")
    empty.write_text("", encoding="utf-8")

    assert docker_compose("config", "--quiet", env_file=given).returncode == 0
    assert docker_compose("config", "--quiet", env_file=empty).returncode != 0
