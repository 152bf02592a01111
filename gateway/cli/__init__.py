"""Commands. Each is a few lines around a use case; exit codes mean the same everywhere (see `ExitCode`)."""

import io
import os
import sys

import typer

from gateway import __version__
from gateway.cli.bench import bench_app
from gateway.cli.common import ExitCode, fail, say
from gateway.cli.consent import consent_app
from gateway.cli.demo import demo_command
from gateway.cli.document import document_app
from gateway.cli.network import ae_app, institution_app, route_app
from gateway.cli.peers import echo_command, send_command
from gateway.cli.serve import db_app, serve_command
from gateway.cli.settings import config_app, init_command
from gateway.cli.status import status_command
from gateway.cli.token import token_app
from gateway.errors import GatewayError, InputError, NetworkError

app = typer.Typer(
    name="gateway",
    help="Imaging exchange gateway: moves DICOM studies and their documents between institutions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("init")(init_command)
app.command("serve")(serve_command)
app.command("status")(status_command)
app.command("echo")(echo_command)
app.command("send")(send_command)
app.command("demo")(demo_command)
for name, group in (
    ("institution", institution_app),
    ("ae", ae_app),
    ("route", route_app),
    ("consent", consent_app),
    ("document", document_app),
    ("token", token_app),
    ("config", config_app),
    ("db", db_app),
    ("bench", bench_app),
):
    app.add_typer(group, name=name)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    """Options before any command."""
    if version:
        say(f"imaging-exchange-gateway {__version__}")
        raise typer.Exit


def main() -> None:
    """The console script: errors become one line and an exit code. What it writes is for its own user alone."""
    os.umask(0o077)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error has it: no terminal is a reason to fail
    try:
        app(prog_name="gateway")
    except NetworkError as error:
        fail(str(error), ExitCode.UNREACHABLE)
    except UnicodeEncodeError:  # an argument with bytes of another encoding, where text was due
        fail("expected UTF-8 text; an argument holds other bytes", ExitCode.USAGE)
    except InputError as error:
        fail(str(error), ExitCode.USAGE)
    except GatewayError as error:
        fail(str(error), ExitCode.FAILED)
    except OSError as error:  # of files that others may spoil, errors of ours tell; what is left is mostly a full disk
        _give_up_output()
        fail(f"{error.filename or 'standard output'}: {error.strerror}", ExitCode.FAILED)


def _give_up_output() -> None:
    """What is still to be printed goes nowhere: standard output may be what failed, and would again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
