"""`gateway serve` and `gateway db`: the node itself."""

import signal
import sys
import threading
from types import FrameType

import typer

from gateway import log
from gateway.app.parts import database_of
from gateway.cli.common import (
    DEFAULT_FILE,
    ConfigOption,
    ExitCode,
    JsonOption,
    SetOption,
    done,
    dump,
    fail,
    load_settings,
)
from gateway.config import Settings
from gateway.errors import ConnectFailed
from gateway.store.migrate import upgrade

db_app = typer.Typer(help="The node's database.", no_args_is_help=True)


SWITCH_INTERVAL_S = 0.0001
"""How soon a thread that computes lets others run. A thread back from a disk or socket waits that long for the
interpreter: with Python's 5 ms, indexing tripled the time to an acknowledgement."""


def serve_command(config: ConfigOption = DEFAULT_FILE, assignments: SetOption = None, json: JsonOption = False) -> None:
    """Run the node: DICOM listener, deliveries and REST. SIGTERM or Ctrl-C drains and stops it.

    With --json it says on standard output where it serves, in one line, as soon as it does. The log goes to standard
    error.
    """
    from gateway.app.node import Gateway  # noqa: PLC0415  # no other command needs the web server to start

    settings = load_settings(config, assignments)
    log.configure(settings.log.level, settings.log.format)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    try:
        gateway = Gateway(settings)
        gateway.start()
    except ConnectFailed as error:  # a port of our own; no peer is to blame
        fail(f"{error}; stop what uses it, or set another scp.port or web.port", ExitCode.FAILED)
    if json:
        dump(_places(settings, gateway.dicom_port, gateway.web_port), indent=None)
    stop.wait()
    gateway.stop()


def _places(settings: Settings, dicom_port: int, web_port: int | None) -> dict[str, object]:
    """Where a node serves; its ports are not those of the settings where these are 0."""
    rest = {"host": settings.web.host, "port": web_port}
    return {
        "dicom": {"ae_title": settings.scp.ae_title, "host": settings.scp.host, "port": dicom_port},
        "rest": rest if web_port is not None else None,
    }


@db_app.command("upgrade")
def db_upgrade(config: ConfigOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """Bring the database to this version's schema. Stop the node and make a backup first."""
    settings = load_settings(config)
    database = database_of(settings)
    try:
        upgrade(database)
    finally:
        database.close()
    done(json, "The database has the schema of this version.", upgraded=True)
