"""What holds for every command: its help, its exit codes, one line for each way a node can be unusable."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer.main

from gateway import __version__
from gateway.cli import app
from gateway.cli.common import ExitCode
from tests.cli.typed import HOSPITAL_A, Typist
from tests.processes import environment

NOBODY = 65534
PASSWORD = "geheim-7"  # noqa: S105 - a canary


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group with the words that call it."""
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))

USES_DATABASE = [
    ("status",),
    ("institution", "list"),
    ("consent", "register", "--institution", HOSPITAL_A, "--patient", "P1"),
    ("document", "list", "--institution", HOSPITAL_A, "--study", "1.2.3"),
    ("echo", "PACS_B"),
]
"""A verb of each kind that needs the node's database: to look, to read, to write, with documents, to call a peer."""

GROUPS = [words for words, command in COMMANDS.items() if hasattr(command, "commands")]
VERBS = [words for words in COMMANDS if words not in GROUPS]


@contextmanager
def without_privileges() -> Iterator[None]:
    """What file permissions forbid is forbidden, even where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, where everybody may look; below a folder of tests nobody else may."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp"))
    path.chmod(0o755)
    monkeypatch.chdir(path)
    yield path
    shutil.rmtree(path)


class TestHelp:
    @pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
    def test_mentions_every_option_and_argument(self, typed: Typist, words: tuple[str, ...]) -> None:
        shown = typed.done(*words, "--help").out
        command = COMMANDS[words]
        for param in command.params:
            wanted = param.opts if param.param_type_name == "option" else [param.metavar or param.name]
            for word in wanted:
                assert word in shown, f"{word} is not explained"
            assert param.help, f"{param.name} has no explanation"
        for name in getattr(command, "commands", {}):
            assert f" {name} " in shown
        assert command.help, "it does not say what it does"

    @pytest.mark.parametrize("words", GROUPS, ids=" ".join)
    def test_a_group_without_a_verb_shows_it(self, typed: Typist, words: tuple[str, ...]) -> None:
        outcome = typed(*words)
        assert outcome.code in (ExitCode.OK, ExitCode.USAGE)
        assert "Usage: gateway" in outcome.out + outcome.err

    @pytest.mark.parametrize("words", VERBS, ids=" ".join)
    def test_every_verb_speaks_json(self, words: tuple[str, ...]) -> None:
        assert "--json" in {option for param in COMMANDS[words].params for option in param.opts}

    def test_version(self, typed: Typist) -> None:
        assert typed.done("--version").out == f"imaging-exchange-gateway {__version__}\n"

    @pytest.mark.parametrize("words", [("nonsense",), ("consent", "nonsense"), ("status", "--nonsense"), ("ae", "add")])
    def test_what_there_is_not(self, typed: Typist, words: tuple[str, ...]) -> None:
        outcome = typed(*words)
        assert (outcome.code, outcome.out) == (ExitCode.USAGE, "")
        assert "--help" in outcome.err


class TestTheNodeCannotBeUsed:
    @pytest.mark.parametrize("words", USES_DATABASE, ids=" ".join)
    def test_no_settings(self, typed: Typist, folder: Path, words: tuple[str, ...]) -> None:
        (folder / "gateway.toml").unlink()
        outcome = typed(*words)
        assert outcome.code == ExitCode.USAGE
        assert outcome.told == "gateway.toml: no such file; `gateway init` writes a starter file"
        assert list(folder.iterdir()) == []

    @pytest.mark.parametrize("words", USES_DATABASE[-2:], ids=" ".join)
    @pytest.mark.parametrize("content", ["[scp]\nport = -1\n", "[scp\n", "port = 1\n", "\xff"], ids=repr)
    def test_wrong_settings(self, typed: Typist, folder: Path, words: tuple[str, ...], content: str) -> None:
        (folder / "gateway.toml").write_bytes(content.encode("latin-1"))
        outcome = typed(*words)
        assert outcome.code == ExitCode.USAGE
        assert outcome.told.startswith("gateway.toml:")
        assert not (folder / "state").exists()

    @pytest.mark.parametrize("words", USES_DATABASE, ids=" ".join)
    def test_no_database_but_something_else(self, registered: Typist, folder: Path, words: tuple[str, ...]) -> None:
        (folder / "state" / "gateway.db").write_bytes(bytes(range(256)) * 64)
        self.assert_unusable(registered, words)

    @pytest.mark.parametrize("words", USES_DATABASE, ids=" ".join)
    def test_half_a_database(self, registered: Typist, folder: Path, words: tuple[str, ...]) -> None:
        database = folder / "state" / "gateway.db"
        os.truncate(database, database.stat().st_size // 3)
        self.assert_unusable(registered, words)

    @pytest.mark.parametrize("words", USES_DATABASE, ids=" ".join)
    def test_a_folder_in_its_place(self, registered: Typist, folder: Path, words: tuple[str, ...]) -> None:
        (folder / "state" / "gateway.db").unlink()
        (folder / "state" / "gateway.db").mkdir()
        self.assert_unusable(registered, words)

    @pytest.mark.parametrize("words", [*USES_DATABASE, ("db", "upgrade")], ids=" ".join)
    def test_a_file_where_its_state_should_be(self, typed: Typist, folder: Path, words: tuple[str, ...]) -> None:
        (folder / "state").write_text("something else")
        outcome = typed(*words)
        assert outcome.code == ExitCode.FAILED
        assert (
            outcome.told
            == f"{folder / 'state'} (node.state_dir) cannot be used: File exists; expected a writable folder"
        )

    @pytest.mark.parametrize("words", USES_DATABASE, ids=" ".join)
    def test_a_folder_that_may_not_be_written(
        self, typed: Typist, open_folder: Path, network_file: Path, words: tuple[str, ...]
    ) -> None:
        (open_folder / "gateway.toml").write_text("")
        with without_privileges():
            outcome = typed(*words)
        assert outcome.code == ExitCode.FAILED
        assert outcome.told.endswith("cannot be used: Permission denied; expected a writable folder")

        (open_folder / "state").mkdir(mode=0o755)
        shutil.copy(network_file, open_folder / "state" / "gateway.db")
        (open_folder / "state" / "gateway.db").chmod(0o444)
        (open_folder / "state").chmod(0o555)
        with without_privileges():
            self.assert_unusable(typed, words)

    @pytest.mark.parametrize("words", USES_DATABASE, ids=" ".join)
    def test_a_database_that_somebody_locks(self, registered: Typist, folder: Path, words: tuple[str, ...]) -> None:
        (folder / "gateway.toml").write_text("[database]\nbusy_timeout_s = 0.1\n")
        holder = sqlite3.connect(folder / "state" / "gateway.db", isolation_level=None)
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        self.assert_unusable(registered, words)
        holder.close()

    @pytest.mark.parametrize("words", USES_DATABASE[:3], ids=" ".join)
    def test_a_server_that_is_not_there(
        self, typed: Typist, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GATEWAY__DATABASE__URL", f"postgresql://u:{PASSWORD}@127.0.0.1:1/gateway")
        outcome = self.assert_unusable(typed, words)
        assert PASSWORD not in outcome

    @pytest.mark.parametrize("words", USES_DATABASE, ids=" ".join)
    @pytest.mark.parametrize("revision", ["0000", "9999"], ids=["older", "newer"])
    def test_the_schema_of_another_version(
        self, registered: Typist, folder: Path, words: tuple[str, ...], revision: str
    ) -> None:
        set_revision(folder, revision)
        outcome = registered(*words)
        assert outcome.code == ExitCode.FAILED
        assert "run `gateway db upgrade`" in outcome.told
        assert revision in outcome.told

    @staticmethod
    def assert_unusable(typed: Typist, words: tuple[str, ...]) -> str:
        outcome = typed(*words)
        assert outcome.code == ExitCode.FAILED
        assert outcome.told.startswith("the database does not answer")
        return outcome.told


def set_revision(folder: Path, revision: str) -> None:
    """Make the node's database one of another version."""
    with sqlite3.connect(folder / "state" / "gateway.db") as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    database.close()


class TestText:
    @pytest.mark.parametrize(
        "words",
        [
            ("echo",),
            ("ae", "remove"),
            ("route", "remove"),
            ("token", "revoke"),
            ("institution", "suspend"),
            ("consent", "show", "--patient", "P1", "--institution"),
        ],
        ids=" ".join,
    )
    def test_bytes_that_are_no_text(self, registered: Typist, words: tuple[str, ...]) -> None:
        outcome = registered(*words, "\udcff\udcfe")
        assert outcome.code == ExitCode.USAGE
        assert "expected" in outcome.told

    def test_a_terminal_that_does_not_know_korean(self, folder: Path, registered: Typist) -> None:
        registered.done("institution", "add", HOSPITAL_A, "서울병원")
        shown = shell("institution", "list", cwd=folder, PYTHONIOENCODING="ascii")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert r"\uc11c\uc6b8" in shown.stdout

    def test_a_reader_that_goes_away(self, folder: Path, registered: Typist) -> None:
        """As with `gateway config show | head -1`."""
        read, write = os.pipe()
        os.close(read)
        gone = shell("config", "show", cwd=folder, stdout=write)
        os.close(write)
        assert gone.returncode == ExitCode.FAILED
        assert "Traceback" not in gone.stderr

    @pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
    def test_a_full_disk_behind_standard_output(self, folder: Path, registered: Typist, form: tuple[str, ...]) -> None:
        """As with `gateway ae list > FILE`."""
        with open("/dev/full", "wb") as full:
            outcome = shell("ae", "list", *form, cwd=folder, stdout=full.fileno())
        assert outcome.returncode == ExitCode.FAILED
        assert outcome.stderr == "standard output: No space left on device\n"


def test_what_it_writes_is_for_its_own_user_alone(typed: Typist, folder: Path) -> None:
    (folder / "gateway.toml").unlink()
    typed.done("init")
    typed.done("institution", "add", HOSPITAL_A, "A")
    typed.done("document", "list", "--institution", HOSPITAL_A, "--study", "1.2.3")
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    folders = dict.fromkeys(("state", "blobs", "part"), 0o700)
    assert modes == {"gateway.toml": 0o600, "gateway.db": 0o600, **folders}


def shell(*words: str, cwd: Path, stdout: int = subprocess.PIPE, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        cwd=cwd,
        env=environment(**variables),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("institution", "suspend", "1.2.3"), ExitCode.USAGE),
        (("institution", "list", "--config", "other.toml"), ExitCode.USAGE),
        (("document", "get", "0" * 32, "--institution", HOSPITAL_A, "--study", "1.2.3", "-o", "x"), ExitCode.DENIED),
        (("echo", "PACS@127.0.0.1:1"), ExitCode.UNREACHABLE),
    ],
)
def test_where_json_is_spoken_errors_are_json_too(registered: Typist, words: tuple[str, ...], code: ExitCode) -> None:
    outcome = registered(*words, "--json")
    assert outcome.code == code
    assert outcome.json == {"error": outcome.told, "exit_code": code}
    assert registered(*words).out == ""
