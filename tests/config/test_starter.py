"""The starter file says what the models say."""

import re
import tomllib
from pathlib import Path

from gateway.config import Settings, load, show, starter_toml
from gateway.config.keys import KEYS


def test_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(starter_toml(), encoding="utf-8")
    settings = load(file, {}, {})
    expected = Settings()
    node = expected.node.model_copy(update={"state_dir": tmp_path / "state"})
    assert settings == expected.model_copy(update={"node": node})


def test_the_essentials_stand_there_as_settings(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(starter_toml(), encoding="utf-8")
    set_there = {setting.key for setting in show(file, {}, {}) if setting.origin.startswith(str(file))}
    assert set_there == {"node.name", "node.state_dir", "scp.ae_title", "scp.host", "scp.port", "web.host", "web.port"}


def test_every_comment_that_shows_a_default_can_be_uncommented(tmp_path: Path) -> None:
    text = re.sub(r"^# (\w+ = .+)$", r"\1", starter_toml(), flags=re.MULTILINE)
    document = tomllib.loads(text)
    there = {f"{section}.{name}" for section, table in document.items() for name in table}
    assert there == {key.dotted for key in KEYS.values() if key.field.default is not None}
    file = tmp_path / "gateway.toml"
    file.write_text(text, encoding="utf-8")
    load(file, {}, {})


def test_every_setting_is_explained() -> None:
    flat = re.sub(r"\n# ", " ", starter_toml())
    for key in KEYS.values():
        assert str(key.field.description) in flat
        assert re.search(rf"^(# )?{key.name} =", starter_toml(), re.MULTILINE)


def test_no_line_is_wider_than_an_editor() -> None:
    assert max(len(line) for line in starter_toml().splitlines()) <= 110
