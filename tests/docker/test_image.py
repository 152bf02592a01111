"""What the image promises, read off its Dockerfile; what it does is in test_replay."""

import fnmatch
import re
import shlex

from gateway.config import load
from tests.docker.dockerfile import DOCKER, REPOSITORY, environment, instructions, of

SECRET = re.compile(r"password|passwd|secret|token|api_?key|private", re.IGNORECASE)


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path of the repository from the builder: its last matching line decides."""
    verdict = False
    for line in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!").rstrip("/")
        if line and not line.startswith("#") and any(fnmatch.fnmatch(path, p) for p in (pattern, f"{pattern}/*")):
            verdict = not line.startswith("!")
    return verdict


def copied() -> list[str]:
    """Every source that is copied from the repository."""
    arguments = [shlex.split(one.value) for one in instructions() if one.name == "COPY"]
    return [source for words in arguments if not words[0].startswith("--from") for source in words[:-1]]


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    assert copied()
    assert [source for source in copied() if not (REPOSITORY / source).exists()] == []
    assert [source for source in copied() if ignored(source)] == []


def test_nothing_else_of_a_checkout_reaches_the_builder() -> None:
    for path in (".git/config", ".venv/bin/python", "gateway.toml", "state/gateway.db", "docker/.env", "tests/wait.py"):
        assert ignored(path), path


def test_no_secret_is_in_a_layer() -> None:
    lines = [one.value for one in instructions() if one.name in ("ARG", "ENV", "COPY", "RUN")]

    assert [line for line in lines if SECRET.search(line)] == []
    assert [one.value for one in instructions() if one.name == "ADD"] == []


def test_it_runs_as_a_user_without_rights() -> None:
    (user,) = of("run", "USER")
    uid, _, gid = user.value.partition(":")

    assert int(uid) >= 10_000
    assert int(gid) >= 10_000
    assert f"--uid {uid} " in " ".join(one.value for one in of("run", "RUN"))


def test_signals_reach_the_gateway() -> None:
    (entrypoint,), (signal,) = of("run", "ENTRYPOINT"), of("run", "STOPSIGNAL")

    assert entrypoint.argv[1:] == ["serve", "--config", environment()["GATEWAY_CONFIG"]]
    assert signal.value == "SIGTERM"


def test_the_health_check_needs_no_shell_and_asks_for_readiness() -> None:
    (check,) = of("run", "HEALTHCHECK")

    assert "/readyz" in check.argv[-1]


def test_every_installed_version_is_locked() -> None:
    commands = [command for one in instructions() if one.name == "RUN" for command in one.commands]
    installs = [command for command in commands if "/pip " in command and " install " in command]

    assert installs
    assert [c for c in installs if "--require-hashes" not in c and "--no-index" not in c] == []


def test_its_settings_are_valid_and_keep_state_on_the_volume() -> None:
    settings = load(DOCKER / "gateway.toml", environ={})
    (volume,) = of("run", "VOLUME")
    (check,) = of("run", "HEALTHCHECK")

    assert str(settings.node.state_dir) == volume.value
    assert of("run", "EXPOSE")[0].value.split() == [str(settings.scp.port), str(settings.web.port)]
    assert f", {settings.web.port}," in check.argv[-1]


def locked(name: str) -> dict[str, frozenset[str]]:
    """The requirements of a lock file, with the hashes of their files."""
    text = (REPOSITORY / name).read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        requirement, *hashes = line.split(" --hash=")
        if "==" in requirement and not requirement.lstrip().startswith("#"):
            found[requirement.strip()] = frozenset(one.strip() for one in hashes)
    return found


def test_what_runs_and_what_builds_are_the_versions_that_are_tested() -> None:
    tested = locked("requirements.lock")

    for name in ("requirements-runtime.lock", "requirements-build.lock"):
        assert locked(name)
        assert locked(name).items() <= tested.items()


def test_no_test_tool_is_among_what_runs() -> None:
    names = {requirement.partition("==")[0] for requirement in locked("requirements-runtime.lock")}

    assert {"fastapi", "sqlalchemy", "psycopg"} <= names
    assert not {"pytest", "mypy", "ruff", "hypothesis", "hatchling"} & names
