"""`gateway init`, `gateway config check` and `gateway config show`, as typed."""

import json
from pathlib import Path

import pytest

from gateway.config import starter_toml
from gateway.config.keys import KEYS
from tests.cli.typed import Typist

PASSWORD = "geheim-7"  # noqa: S105 - a canary


@pytest.fixture
def gateway(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typist:
    """Types commands in an empty folder."""
    return Typist(capsys, monkeypatch)


class TestInit:
    def test_writes_the_starter_file(self, gateway: Typist, folder: Path) -> None:
        result = gateway("init")
        assert result.code == 0
        assert result.out == "Wrote gateway.toml. Next: gateway config check --config gateway.toml\n"
        assert (folder / "gateway.toml").read_text(encoding="utf-8") == starter_toml()
        assert gateway("config", "check").code == 0

    def test_refuses_to_overwrite(self, gateway: Typist, folder: Path) -> None:
        (folder / "mine.toml").write_text("[scp]\n")
        result = gateway("init", "mine.toml")
        assert result.code == 2
        assert result.out == ""
        assert result.err == "mine.toml exists; choose another name, or overwrite it with --force\n"
        assert (folder / "mine.toml").read_text() == "[scp]\n"

    def test_overwrites_when_told_to(self, gateway: Typist, folder: Path) -> None:
        (folder / "mine.toml").write_text("[scp]\n")
        assert gateway("init", "mine.toml", "--force").code == 0
        assert (folder / "mine.toml").read_text(encoding="utf-8") == starter_toml()

    @pytest.mark.parametrize("arguments", [["init", "."], ["init", "--force", "."]])
    def test_a_folder(self, gateway: Typist, arguments: list[str]) -> None:
        result = gateway(*arguments)
        assert result.code == 2
        assert result.err.count("\n") == 1

    def test_a_folder_that_is_not_there(self, gateway: Typist) -> None:
        result = gateway("init", "etc/gateway.toml")
        assert result.code == 2
        assert result.err == "etc/gateway.toml: the folder etc does not exist\n"


class TestCheck:
    def test_valid(self, gateway: Typist, folder: Path) -> None:
        (folder / "a.toml").write_text("[scp]\nport = 104\n")
        result = gateway("config", "check", "--config", "a.toml")
        assert (result.code, result.out, result.err) == (0, "a.toml: valid\n", "")

    def test_names_every_mistake_with_its_place(self, gateway: Typist, folder: Path) -> None:
        (folder / "a.toml").write_text("[scp]\nport = 1000000\nae_titel = 'A'\n")
        result = gateway("config", "check", "-c", "a.toml", "--set", "web.port=x")
        assert (result.code, result.out) == (2, "")
        first, second, third = result.err.splitlines()
        assert first.startswith("a.toml:2: scp.port: found 1000000, expected a whole number from 0 to 65535")
        assert second == "a.toml:3: unknown key scp.ae_titel; did you mean scp.ae_title?"
        assert third.startswith('command line: web.port: found "x", expected a whole number')

    def test_as_json(self, gateway: Typist, folder: Path) -> None:
        (folder / "a.toml").write_text("[scp]\nprot = 1\n")
        result = gateway("config", "check", "--json", "-c", "a.toml")
        assert result.code == 2
        assert json.loads(result.out) == {
            "file": "a.toml",
            "problems": ["a.toml:2: unknown key scp.prot; did you mean scp.port?"],
        }
        (folder / "a.toml").write_text("")
        result = gateway("config", "check", "--json", "-c", "a.toml")
        assert (result.code, json.loads(result.out)) == (0, {"file": "a.toml", "problems": []})

    def test_without_a_file(self, gateway: Typist) -> None:
        result = gateway("config", "check")
        assert result.code == 2
        assert result.err == "gateway.toml: no such file; `gateway init` writes a starter file\n"

    def test_the_file_may_be_named_by_the_environment(
        self, gateway: Typist, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "a.toml").write_text("")
        monkeypatch.setenv("GATEWAY_CONFIG", "a.toml")
        assert gateway("config", "check").out == "a.toml: valid\n"

    def test_an_assignment_without_equals_sign_is_not_repeated(self, gateway: Typist, folder: Path) -> None:
        (folder / "a.toml").write_text("")
        result = gateway("config", "check", "-c", "a.toml", "--set", f"postgresql://u:{PASSWORD}@db/b")
        assert (result.code, result.err) == (2, "--set takes KEY=VALUE, such as scp.port=11113\n")

    def test_markup_in_a_value_is_only_text(self, gateway: Typist, folder: Path) -> None:
        (folder / "a.toml").write_text('[scp]\nport = "[bold]x[/bold]\\u001b[31m"\n')
        result = gateway("config", "check", "-c", "a.toml")
        assert 'found "[bold]x[/bold]\\u001b[31m"' in result.err


class TestShow:
    def test_tells_where_a_value_comes_from(
        self, gateway: Typist, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GATEWAY__WEB__PORT", "81")
        (folder / "a.toml").write_text("[scp]\nport = 104\n")
        result = gateway("config", "show", "-c", "a.toml", "--set", "log.level=debug")
        assert result.code == 0
        rows = {line.split()[0]: line.rstrip().split(maxsplit=2)[1:] for line in result.out.splitlines()}
        assert rows["scp.port"] == ["104", "a.toml:2"]
        assert rows["log.level"] == ["debug", "command line"]
        assert rows["web.port"] == ["81", "environment variable GATEWAY__WEB__PORT"]
        assert rows["web.enabled"] == ["true", "default"]
        assert KEYS.keys() <= rows.keys()

    def test_as_json(self, gateway: Typist, folder: Path) -> None:
        (folder / "a.toml").write_text('[scp]\nprivate_storage_sop_classes = ["1.2.3"]\n')
        result = gateway("config", "show", "-c", "a.toml", "--json")
        shown = {setting["key"]: setting for setting in json.loads(result.out)}
        assert shown["scp.private_storage_sop_classes"] == {
            "key": "scp.private_storage_sop_classes",
            "value": ["1.2.3"],
            "origin": "a.toml:2",
        }
        assert shown["database.url"]["value"] is None
        assert shown.keys() == KEYS.keys()

    @pytest.mark.parametrize("form", [[], ["--json"]])
    def test_masks_passwords(self, gateway: Typist, folder: Path, form: list[str]) -> None:
        (folder / "a.toml").write_text(f'[database]\nurl = "postgresql://u:{PASSWORD}@db/gateway"\n')
        result = gateway("config", "show", "-c", "a.toml", *form)
        assert "postgresql://u:***@db/gateway" in result.out
        assert PASSWORD not in result.out + result.err

    def test_of_a_file_with_mistakes(self, gateway: Typist, folder: Path) -> None:
        (folder / "a.toml").write_text("[scp]\nport = -1\n")
        result = gateway("config", "show", "-c", "a.toml")
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("a.toml:2: scp.port: found -1")


class TestJson:
    def test_init(self, gateway: Typist) -> None:
        assert gateway.done("init", "mine.toml", "--json").json == {"written": "mine.toml"}

    @pytest.mark.parametrize(
        "words", [("init", "a.toml"), ("init", "etc/a.toml"), ("init", "."), ("config", "show", "-c", "a.toml")]
    )
    def test_what_cannot_be_done(self, gateway: Typist, folder: Path, words: tuple[str, ...]) -> None:
        (folder / "a.toml").write_text("[scp]\nport = -1\n")
        result = gateway(*words, "--json")
        assert result.json == {"error": result.told, "exit_code": 2}
