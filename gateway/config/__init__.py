"""Node settings: one TOML file, the environment and the command line, read once into frozen values."""

from gateway.config.loading import DEFAULT_FILE, SettingOrigin, load, show
from gateway.config.model import (
    ConsentSettings,
    DatabaseSettings,
    DeliverySettings,
    DocumentSettings,
    LogSettings,
    NodeSettings,
    SCPSettings,
    Settings,
    SpoolSettings,
    WebSettings,
)
from gateway.config.starter import starter_toml

__all__ = [
    "DEFAULT_FILE",
    "ConsentSettings",
    "DatabaseSettings",
    "DeliverySettings",
    "DocumentSettings",
    "LogSettings",
    "NodeSettings",
    "SCPSettings",
    "SettingOrigin",
    "Settings",
    "SpoolSettings",
    "WebSettings",
    "load",
    "show",
    "starter_toml",
]
