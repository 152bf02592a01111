"""What each setting accepts, and what follows from several."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from gateway.config import Settings, load
from gateway.config.keys import KEYS
from gateway.errors import ConfigError


def with_settings(**values: str) -> Settings:
    return load(None, {key.replace("__", ".", 1): value for key, value in values.items()}, {})


@pytest.mark.parametrize("title", ["A", "GATEWAY", "ORTHANC 1", "lower-case_16ch", "A" * 16])
def test_ae_titles(title: str) -> None:
    assert with_settings(scp__ae_title=title).scp.ae_title == title


@pytest.mark.parametrize("title", ["", " ", "A" * 17, "A\\B", " A", "A ", "가", "A\n", "A\x7f"])
def test_what_is_no_ae_title(title: str) -> None:
    with pytest.raises(ConfigError, match=r"expected an AE title \(PS3.5 §6.2\)"):
        with_settings(scp__ae_title=title)


@pytest.mark.parametrize("host", ["127.0.0.1", "::", "localhost", "gw-1.hospital.example", "fe80::1"])
def test_hosts(host: str) -> None:
    assert with_settings(web__host=host).web.host == host


@pytest.mark.parametrize("host", ["", "10.0.0.256", "a b", "-a", "a..b", "http://a", "127.0.0.1:80", "a" * 254])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ConfigError, match="expected an IP address or a host name"):
        with_settings(web__host=host)


@pytest.mark.parametrize("uid", ["1", "1.02", "1.2.", "a.b", "1." * 40 + "1", "1.2-3"])
def test_what_is_no_uid(uid: str) -> None:
    with pytest.raises(ConfigError, match=r"expected UIDs \(PS3.5 §9.1\)"):
        with_settings(scp__private_storage_sop_classes=uid)


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "a" * 65, "병원"])
def test_what_is_no_node_name(name: str) -> None:
    with pytest.raises(ConfigError, match=r"node\.name"):
        with_settings(node__name=name)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://a/b",
        "sqlite://",
        "sqlite:///relative.db",
        "sqlite:////",
        "postgresql://host",
        "postgresql://h:x/b",
        "gateway.db",
        "postgresql://h/b\x1b",
    ],
)
def test_what_is_no_database(url: str) -> None:
    with pytest.raises(ConfigError, match=r"database\.url"):
        with_settings(database__url=url)


def test_postgresql_names_its_driver() -> None:
    settings = with_settings(database__url="postgresql://u:p@db/gateway")
    assert settings.database_url == "postgresql+psycopg://u:p@db/gateway"
    assert make_url(settings.database_url).get_driver_name() == "psycopg"


@pytest.mark.parametrize("folder", ["state", "a b", "50%20", "what?", "a#b", "한글", "a@b:c"])
def test_the_default_database_is_below_the_state_folder(tmp_path: Path, folder: str) -> None:
    settings = with_settings(node__state_dir=str(tmp_path / folder))
    assert make_url(settings.database_url).database == str(tmp_path / folder / "gateway.db")


def test_the_calling_ae_title_is_ours_unless_set() -> None:
    assert with_settings(scp__ae_title="HUB").calling_ae_title == "HUB"
    assert with_settings(scp__ae_title="HUB", delivery__calling_ae_title="OUT").calling_ae_title == "OUT"


@pytest.mark.parametrize(
    ("scp", "web", "enabled", "clash"),
    [
        ("127.0.0.1", "127.0.0.1", "true", True),
        ("0.0.0.0", "127.0.0.1", "true", True),  # noqa: S104 - a setting
        ("127.0.0.1", "::", "true", True),
        ("127.0.0.1", "127.0.0.2", "true", False),
        ("127.0.0.1", "127.0.0.1", "false", False),
    ],
)
def test_one_port_for_two_listeners(scp: str, web: str, enabled: str, clash: bool) -> None:
    values = {"scp__host": scp, "web__host": web, "web__enabled": enabled, "scp__port": "9000", "web__port": "9000"}
    if clash:
        with pytest.raises(ConfigError, match=r"web\.port: found 9000, expected a port other than scp\.port"):
            with_settings(**values)
    else:
        assert with_settings(**values).scp.port == 9000


def test_any_free_port_may_be_asked_for_twice() -> None:
    assert with_settings(scp__port="0", web__port="0").scp.port == 0


def test_every_setting_says_what_it_is() -> None:
    for key in KEYS.values():
        assert key.field.description, key.dotted
        assert key.expected(), key.dotted


def test_defaults_keep_to_their_own_bounds() -> None:
    Settings.model_validate(Settings().model_dump())
