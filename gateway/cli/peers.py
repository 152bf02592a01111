"""`gateway echo|send`: talk to a peer."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from gateway.app.parts import dial_settings
from gateway.cli.common import (
    DEFAULT_FILE,
    ConfigOption,
    ExitCode,
    JsonOption,
    done,
    dump,
    load_settings,
    node,
    say,
    tell,
)
from gateway.config import Settings, load
from gateway.domain.peer import ApplicationEntity, ae_title
from gateway.errors import InputError, NotFound, PeerSystemError, RemoteProtocolError
from gateway.net.dial import DialSettings
from gateway.ops.send import SendResult, dicom_files, echo, send_files
from gateway.store.network import read_network
from gateway.wire.status import NOT_AUTHORIZED

_PLACE = re.compile(r"(.+)@(?:\[([^@\[\]]+)\]|([^@\[\]]+)):([0-9]{1,5})")
"""An AE title may hold an @, a host may not."""

PeerArgument = Annotated[
    str, typer.Argument(metavar="PEER", help="A registered AE title, or TITLE@HOST:PORT for any other.")
]
CallingOption = Annotated[
    str | None, typer.Option("--aet", metavar="TITLE", help="Calling AE title. Not given: this node's own.")
]


def echo_command(
    peer: PeerArgument,
    aet: CallingOption = None,
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Ask a peer whether it is there (C-ECHO)."""
    ae, settings = _peer(peer, aet, config)
    with _speaking_with(ae):
        seconds = echo(ae, settings)
    done(json, f"{ae} answered in {seconds * 1000:.1f} ms.", peer=str(ae), seconds=round(seconds, 6))


def send_command(
    peer: PeerArgument,
    paths: Annotated[list[Path], typer.Argument(metavar="FILE|FOLDER...", exists=True, help="What to send.")],
    aet: CallingOption = None,
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Send DICOM files to a peer (C-STORE)."""
    files = dicom_files(paths)
    ae, settings = _peer(peer, aet, config)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with _speaking_with(ae), Progress(*columns, disable=json) as progress:
        task = progress.add_task(f"to {ae}", total=sum(file.data_bytes for file in files))
        results = send_files(ae, files, settings, lambda result: progress.advance(task, result.file.data_bytes))
    delivered = [result for result in results if result.delivered]
    if json:
        dump(
            {
                "peer": str(ae),
                "sent": len(delivered),
                "of": len(results),
                "failures": [
                    {"file": r.file.path.name, "status": r.status, "detail": r.detail}
                    for r in results
                    if not r.delivered
                ],
            }
        )
    else:
        say(f"{len(delivered)} of {len(results)} instances accepted by {ae}.")
        for detail in dict.fromkeys(result.detail for result in results if not result.delivered):
            tell(f"  {detail}")
    raise typer.Exit(_exit_code(results))


@contextmanager
def _speaking_with(ae: ApplicationEntity) -> Iterator[None]:
    """A peer that breaks a rule is named; the rule alone would not tell which it was.

    Raises:
        PeerSystemError: it did.
    """
    try:
        yield
    except RemoteProtocolError as error:
        raise PeerSystemError(f"{ae} does not speak DICOM as it should: {error}; check host and port") from error


def _exit_code(results: list[SendResult]) -> ExitCode:
    delivered = sum(result.delivered for result in results)
    if delivered == len(results):
        return ExitCode.OK
    if delivered:
        return ExitCode.PARTIAL
    if all(result.status == NOT_AUTHORIZED for result in results):
        return ExitCode.DENIED
    return ExitCode.FAILED


def _peer(text: str, aet: str | None, config: Path) -> tuple[ApplicationEntity, DialSettings]:
    if "@" in text:
        return _parsed(text), _calling(_settings(config), aet)
    with node(config) as (settings, database), database.read() as session:
        ae = read_network(session).application_entities.get(ae_title(text))
    if ae is None:
        raise NotFound(
            f"AE title {text} is not registered; name it as TITLE@HOST:PORT or register it with `gateway ae add`"
        )
    return ae, _calling(settings, aet)


def _parsed(text: str) -> ApplicationEntity:
    parts = _PLACE.fullmatch(text)
    if parts is None:
        raise InputError("PEER: expected a registered AE title, or TITLE@HOST:PORT such as PACS@192.0.2.7:104")
    title, bracketed, host, port = parts.groups()
    return ApplicationEntity(ae_title(title), "", bracketed or host, int(port))


def _settings(config: Path) -> Settings:
    """A peer named by its place can be asked from anywhere, so the usual file need not be there; a named one must."""
    if config == DEFAULT_FILE and not os.path.exists(config):
        return load(None)
    return load_settings(config)


def _calling(settings: Settings, aet: str | None) -> DialSettings:
    own = dial_settings(settings)
    if aet is None:
        return own
    return DialSettings(ae_title(aet), own.connect_timeout_s, own.associate_timeout_s, own.response_timeout_s)
