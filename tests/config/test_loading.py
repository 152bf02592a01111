"""Precedence, the place of every mistake, origins, masks."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.config import SettingOrigin, load, show
from gateway.errors import ConfigError

PASSWORD = "geheim-7"  # noqa: S105 - a canary


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


def mistakes(file: Path, text: str, environ: Mapping[str, str] | None = None, **overrides: str) -> list[str]:
    """The lines of the error, the file's folder left out."""
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(file, {key.replace("__", "."): value for key, value in overrides.items()}, environ or {})
    return str(caught.value).replace(f"{file.parent}/", "").splitlines()


def test_later_sources_win(file: Path) -> None:
    file.write_text('[scp]\nport = 104\nae_title = "FILE"\nhost = "10.0.0.1"\n')
    environ = {"GATEWAY__SCP__PORT": "105", "GATEWAY__SCP__AE_TITLE": "ENVIRONMENT", "PATH": "/bin"}
    settings = load(file, {"scp.port": "106"}, environ)
    assert settings.scp.port == 106
    assert settings.scp.ae_title == "ENVIRONMENT"
    assert settings.scp.host == "10.0.0.1"
    assert settings.scp.maximum_length_bytes == 131072


def test_texts_become_what_the_setting_is() -> None:
    environ = {
        "GATEWAY__WEB__ENABLED": "False",
        "GATEWAY__DELIVERY__LINGER_S": "0.5",
        "GATEWAY__SCP__PRIVATE_STORAGE_SOP_CLASSES": "1.2.3, 1.2.4",
        "GATEWAY__NODE__NAME": "",
    }
    settings = load(None, {"documents.limit_bytes": "2_000_000"}, environ)
    assert settings.web.enabled is False
    assert settings.delivery.linger_s == 0.5
    assert settings.scp.private_storage_sop_classes == ("1.2.3", "1.2.4")
    assert settings.documents.limit_bytes == 2_000_000
    assert settings.node.name == "gateway"  # an empty variable is not set


def test_settings_cannot_be_changed() -> None:
    settings = load(None, {}, {})
    with pytest.raises(ValueError, match="frozen"):
        settings.scp.port = 1  # type: ignore[misc]


class TestStateDir:
    def test_in_the_file_is_relative_to_the_file(self, file: Path) -> None:
        file.write_text('[node]\nstate_dir = "../data"\n')
        settings = load(file, {}, {})
        assert settings.node.state_dir == file.parent.parent / "data"
        assert settings.spool_dir == file.parent.parent / "data" / "spool"
        assert settings.blob_dir == file.parent.parent / "data" / "blobs"

    def test_by_default_is_beside_the_file(self, file: Path) -> None:
        file.write_text("")
        assert load(file, {}, {}).node.state_dir == file.parent / "state"

    def test_given_at_a_shell_is_relative_to_the_current_folder(
        self, file: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.write_text("")
        current = tmp_path_factory.mktemp("current")
        monkeypatch.chdir(current)
        assert load(file, {"node.state_dir": "x"}, {}).node.state_dir == current / "x"
        assert load(file, {}, {"GATEWAY__NODE__STATE_DIR": "y"}).node.state_dir == current / "y"
        assert load(None, {}, {}).node.state_dir == current / "state"


class TestSpoolDirectory:
    def test_by_default_is_in_the_state_dir(self, file: Path) -> None:
        file.write_text('[node]\nstate_dir = "data"\n')
        assert load(file, {}, {}).spool_dir == file.parent / "data" / "spool"

    def test_in_the_file_is_relative_to_the_file(self, file: Path) -> None:
        file.write_text('[spool]\ndirectory = "../fast"\n')
        assert load(file, {}, {}).spool_dir == file.parent.parent / "fast"

    def test_given_at_a_shell_is_relative_to_the_current_folder(
        self, file: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.write_text('[spool]\ndirectory = "fast"\n')
        current = tmp_path_factory.mktemp("current")
        monkeypatch.chdir(current)
        assert load(file, {"spool.directory": "x"}, {}).spool_dir == current / "x"


class TestMistakes:
    def test_each_is_told_with_its_line(self, file: Path) -> None:
        text = '[scp]\nport = "104"\nprot = 3\n\n[spc]\na = 1\n[log]\n  level = "loud"\n'
        assert mistakes(file, text) == [
            'gateway.toml:2: scp.port: found "104", expected a whole number from 0 to 65535. '
            "TCP port to listen on; 0 takes any free one.",
            "gateway.toml:3: unknown key scp.prot; did you mean scp.port?",
            "gateway.toml:5: unknown table [spc]; did you mean [scp]?",
            'gateway.toml:8: log.level: found "loud", expected one of "debug", "info", "warning", "error". '
            "Least severity written.",
        ]

    def test_the_error_carries_file_and_line(self, file: Path) -> None:
        file.write_text("\n\n[scp]\nport = -1\n")
        with pytest.raises(ConfigError) as caught:
            load(file, {"scp.host": "?"}, {})
        assert (caught.value.file, caught.value.line) == (str(file), 4)

    @pytest.mark.parametrize(
        ("text", "line", "part"),
        [
            ("scp = 5\n", 1, "scp: found 5, expected a table [scp]"),
            ("[[scp]]\nport = 1\n", 1, "scp: found [a table], expected a table [scp]"),
            ("port = 5\n", 1, "unknown key port; did you mean scp.port or web.port?"),
            ("[scp]\nport.number = 5\n", 2, "scp.port: found a table, expected a whole number"),
            ("[scp.port]\nnumber = 5\n", 1, "scp.port: found a table, expected a whole number"),
            ("[scp]\nport = true\n", 2, "scp.port: found true, expected a whole number"),
            ("[scp]\nport = 104.0\n", 2, "scp.port: found 104.0, expected a whole number"),
            ("[scp]\nidle_timeout_s = nan\n", 2, "found nan, expected a number from 1 to 86400"),
            ("[scp]\nidle_timeout_s = inf\n", 2, "found inf, expected a number from 1 to 86400"),
            ("[web]\nenabled = 1\n", 2, "web.enabled: found 1, expected true or false"),
            ("[node]\nstate_dir = 1\n", 2, "node.state_dir: found 1, expected a path, as text"),
            ("[node]\n'na\\u001bme' = 1\n", 2, "unknown key node.na\\u001bme"),
            ('[node]\n"na\\u001bme" = 1\n', 2, "unknown key node.na\\x1bme"),
            ('[scp]\nprivate_storage_sop_classes = [\n"1.2",\n3]\n', 2, 'found ["1.2", 3], expected a list'),
            ("[consent]\nrefresh_s = 0.3\n", 2, "found 0.3, expected a number from 0.01 to 0.25"),
            ("[consent]\nstale_after_s = 0.1\n", 2, "found 0.1, expected more than consent.refresh_s (0.2)"),
            ("[delivery]\nfirst_retry_s = 1000\n", 2, "delivery.longest_retry_s: found 900.0, expected at least"),
            ("[scp]\nport = 8080\n", 2, "web.port: found 8080, expected a port other than scp.port (8080)"),
            ("[scp]\nport = \n", 2, "not TOML: Invalid value"),
            ('[scp]\nae_title = "A', 2, "not TOML: "),
            ("[scp]\nport = 1\nport = 2\n", 3, "not TOML: "),
        ],
    )
    def test_place(self, file: Path, text: str, line: int, part: str) -> None:
        (told,) = mistakes(file, text)
        assert told.startswith(f"gateway.toml:{line}: ")
        assert part in told

    def test_in_the_environment_names_the_variable(self, file: Path) -> None:
        environ = {"GATEWAY__SCP__PORT": "x", "GATEWAY__SCP__POTR": "1", "GATEWAY__scp__host": "h", "GATEWAY__": ""}
        told = mistakes(file, "", environ)
        assert sorted(told) == [
            "environment variable GATEWAY__: no such setting",
            'environment variable GATEWAY__SCP__PORT: scp.port: found "x", expected a whole number from 0 to 65535. '
            "TCP port to listen on; 0 takes any free one.",
            "environment variable GATEWAY__SCP__POTR: no such setting; did you mean GATEWAY__SCP__PORT?",
            "environment variable GATEWAY__scp__host: no such setting; did you mean GATEWAY__SCP__HOST?",
        ]

    def test_on_the_command_line(self, file: Path) -> None:
        told = mistakes(file, "", {}, scp__port="99999", log__levle="info")
        assert told[0] == "command line: unknown key log.levle; did you mean log.level?"
        assert told[1].startswith("command line: scp.port: found 99999, expected a whole number from 0 to 65535")

    def test_a_wrong_value_that_is_overridden_does_not_matter(self, file: Path) -> None:
        file.write_text("[scp]\nport = -1\n")
        assert load(file, {}, {"GATEWAY__SCP__PORT": "104"}).scp.port == 104

    def test_never_repeats_what_may_be_a_password(self, file: Path) -> None:
        text = f'[database]\nurl = "mysql://gateway:{PASSWORD}@db/gateway"\n'
        (told,) = mistakes(file, text)
        assert told.startswith("gateway.toml:2: database.url: found a value that is not shown")
        assert PASSWORD not in told

    def test_long_values_are_cut(self, file: Path) -> None:
        (told,) = mistakes(file, f'[scp]\nport = "{"x" * 10_000}"\n')
        assert len(told) < 300


class TestUnreadableFiles:
    def test_missing(self, file: Path) -> None:
        with pytest.raises(ConfigError, match="no such file; `gateway init` writes a starter file"):
            load(file, {}, {})

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            load(tmp_path, {}, {})

    def test_not_utf8(self, file: Path) -> None:
        file.write_bytes("[node]\n# 서울\n".encode("euc-kr"))
        with pytest.raises(ConfigError, match=r"gateway.toml:2: found byte 0xbc, expected UTF-8 text"):
            load(file, {}, {})

    def test_a_byte_order_mark_is_no_mistake(self, file: Path) -> None:
        file.write_bytes(b"\xef\xbb\xbf[scp]\r\nport = 104\r\n")
        assert load(file, {}, {}).scp.port == 104


class TestShow:
    def test_value_and_origin(self, file: Path) -> None:
        file.write_text('[scp]\nport = 104\n[web]\nhost = "0.0.0.0"\n')
        shown = {s.key: s for s in show(file, {"log.level": "debug"}, {"GATEWAY__SCP__HOST": "::1"})}
        assert shown["scp.port"] == SettingOrigin("scp.port", 104, f"{file}:2")
        assert shown["web.host"] == SettingOrigin("web.host", "0.0.0.0", f"{file}:4")  # noqa: S104 - a setting
        assert shown["log.level"] == SettingOrigin("log.level", "debug", "command line")
        assert shown["scp.host"] == SettingOrigin("scp.host", "::1", "environment variable GATEWAY__SCP__HOST")
        assert shown["scp.associations"] == SettingOrigin("scp.associations", 64, "default")
        assert shown["scp.private_storage_sop_classes"].value == []
        assert shown["node.state_dir"].value == str(file.parent / "state")

    @pytest.mark.parametrize(
        ("url", "masked"),
        [
            (f"postgresql://u:{PASSWORD}@db:5432/gateway", "postgresql://u:***@db:5432/gateway"),
            (f"postgresql://u:p@{PASSWORD}@db/gateway", "postgresql://u:***@db/gateway"),
            (
                f"postgresql://db/gateway?password={PASSWORD}&sslmode=require",
                "postgresql://db/gateway?password=***&sslmode=require",
            ),
            (f"postgresql://u@db/gateway?sslpassword={PASSWORD}", "postgresql://u@db/gateway?sslpassword=***"),
            ("postgresql://u@db/gateway", "postgresql://u@db/gateway"),
            ("sqlite:////var/lib/gateway.db", "sqlite:////var/lib/gateway.db"),
        ],
    )
    def test_passwords_are_masked(self, url: str, masked: str) -> None:
        environ = {"GATEWAY__DATABASE__URL": url}
        shown = {s.key: s.value for s in show(None, {}, environ)}
        assert shown["database.url"] == masked
        settings = load(None, {}, environ)
        assert PASSWORD not in repr(settings)
        assert PASSWORD not in str(settings)
