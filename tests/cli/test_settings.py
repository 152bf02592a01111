"""`gateway init`, `gateway config check` and `gateway config show`, as typed."""

import json
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from gateway.cli.settings import config_app, init_command
from gateway.config import starter_toml
from gateway.config.keys import KEYS

PASSWORD = "geheim-7"  # noqa: S105 - a canary


@pytest.fixture(autouse=True)
def current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gateway(*arguments: str, **environ: str) -> Result:
    app = typer.Typer()
    app.command("init")(init_command)
    app.add_typer(config_app, name="config")
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200", **environ})


class TestInit:
    def test_writes_the_starter_file(self, current_folder: Path) -> None:
        result = gateway("init")
        assert result.exit_code == 0
        assert result.stdout == "Wrote gateway.toml. Next: gateway config check --config gateway.toml\n"
        assert (current_folder / "gateway.toml").read_text(encoding="utf-8") == starter_toml()
        assert gateway("config", "check").exit_code == 0

    def test_refuses_to_overwrite(self, current_folder: Path) -> None:
        (current_folder / "mine.toml").write_text("[scp]\n")
        result = gateway("init", "mine.toml")
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr == "mine.toml exists; choose another name, or overwrite it with --force\n"
        assert (current_folder / "mine.toml").read_text() == "[scp]\n"

    def test_overwrites_when_told_to(self, current_folder: Path) -> None:
        (current_folder / "mine.toml").write_text("[scp]\n")
        assert gateway("init", "mine.toml", "--force").exit_code == 0
        assert (current_folder / "mine.toml").read_text(encoding="utf-8") == starter_toml()

    @pytest.mark.parametrize("arguments", [["init", "."], ["init", "--force", "."]])
    def test_a_folder(self, arguments: list[str]) -> None:
        result = gateway(*arguments)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1

    def test_a_folder_that_is_not_there(self) -> None:
        result = gateway("init", "etc/gateway.toml")
        assert result.exit_code == 2
        assert result.stderr == "etc/gateway.toml: the folder etc does not exist\n"


class TestCheck:
    def test_valid(self, current_folder: Path) -> None:
        (current_folder / "a.toml").write_text("[scp]\nport = 104\n")
        result = gateway("config", "check", "--config", "a.toml")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "a.toml: valid\n", "")

    def test_names_every_mistake_with_its_place(self, current_folder: Path) -> None:
        (current_folder / "a.toml").write_text("[scp]\nport = 1000000\nae_titel = 'A'\n")
        result = gateway("config", "check", "-c", "a.toml", "--set", "web.port=x")
        assert (result.exit_code, result.stdout) == (2, "")
        first, second, third = result.stderr.splitlines()
        assert first.startswith("a.toml:2: scp.port: found 1000000, expected a whole number from 0 to 65535")
        assert second == "a.toml:3: unknown key scp.ae_titel; did you mean scp.ae_title?"
        assert third.startswith('command line: web.port: found "x", expected a whole number')

    def test_as_json(self, current_folder: Path) -> None:
        (current_folder / "a.toml").write_text("[scp]\nprot = 1\n")
        result = gateway("config", "check", "--json", "-c", "a.toml")
        assert result.exit_code == 2
        assert json.loads(result.stdout) == {
            "file": "a.toml",
            "problems": ["a.toml:2: unknown key scp.prot; did you mean scp.port?"],
        }
        (current_folder / "a.toml").write_text("")
        result = gateway("config", "check", "--json", "-c", "a.toml")
        assert (result.exit_code, json.loads(result.stdout)) == (0, {"file": "a.toml", "problems": []})

    def test_without_a_file(self) -> None:
        result = gateway("config", "check")
        assert result.exit_code == 2
        assert result.stderr == "gateway.toml: no such file; `gateway init` writes a starter file\n"

    def test_the_file_may_be_named_by_the_environment(self, current_folder: Path) -> None:
        (current_folder / "a.toml").write_text("")
        assert gateway("config", "check", GATEWAY_CONFIG="a.toml").stdout == "a.toml: valid\n"

    def test_an_assignment_without_equals_sign_is_not_repeated(self, current_folder: Path) -> None:
        (current_folder / "a.toml").write_text("")
        result = gateway("config", "check", "-c", "a.toml", "--set", f"postgresql://u:{PASSWORD}@db/b")
        assert (result.exit_code, result.stderr) == (2, "--set takes KEY=VALUE, such as scp.port=11113\n")

    def test_markup_in_a_value_is_only_text(self, current_folder: Path) -> None:
        (current_folder / "a.toml").write_text('[scp]\nport = "[bold]x[/bold]\\u001b[31m"\n')
        result = gateway("config", "check", "-c", "a.toml")
        assert 'found "[bold]x[/bold]\\u001b[31m"' in result.stderr


class TestShow:
    def test_tells_where_a_value_comes_from(self, current_folder: Path) -> None:
        (current_folder / "a.toml").write_text("[scp]\nport = 104\n")
        result = gateway("config", "show", "-c", "a.toml", "--set", "log.level=debug", GATEWAY__WEB__PORT="81")
        assert result.exit_code == 0
        rows = {line.split()[0]: line.rstrip().split(maxsplit=2)[1:] for line in result.stdout.splitlines()}
        assert rows["scp.port"] == ["104", "a.toml:2"]
        assert rows["log.level"] == ["debug", "command line"]
        assert rows["web.port"] == ["81", "environment variable GATEWAY__WEB__PORT"]
        assert rows["web.enabled"] == ["true", "default"]
        assert KEYS.keys() <= rows.keys()

    def test_as_json(self, current_folder: Path) -> None:
        (current_folder / "a.toml").write_text('[scp]\nprivate_storage_sop_classes = ["1.2.3"]\n')
        result = gateway("config", "show", "-c", "a.toml", "--json")
        shown = {setting["key"]: setting for setting in json.loads(result.stdout)}
        assert shown["scp.private_storage_sop_classes"] == {
            "key": "scp.private_storage_sop_classes",
            "value": ["1.2.3"],
            "origin": "a.toml:2",
        }
        assert shown["database.url"]["value"] is None
        assert shown.keys() == KEYS.keys()

    @pytest.mark.parametrize("form", [[], ["--json"]])
    def test_masks_passwords(self, current_folder: Path, form: list[str]) -> None:
        (current_folder / "a.toml").write_text(f'[database]\nurl = "postgresql://u:{PASSWORD}@db/gateway"\n')
        result = gateway("config", "show", "-c", "a.toml", *form)
        assert "postgresql://u:***@db/gateway" in result.stdout
        assert PASSWORD not in result.output

    def test_of_a_file_with_mistakes(self, current_folder: Path) -> None:
        (current_folder / "a.toml").write_text("[scp]\nport = -1\n")
        result = gateway("config", "show", "-c", "a.toml")
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("a.toml:2: scp.port: found -1")


def test_init_speaks_json() -> None:
    result = gateway("init", "mine.toml", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"written": "mine.toml"})
