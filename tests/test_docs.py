"""What README and docs say is true: links lead somewhere, commands and settings exist, tables are the code's constants.

The commands of the README's daily use are run as they stand, against a real node on free ports.
"""

import ast
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from gateway.cli import app
from gateway.cli.common import ExitCode
from gateway.cli.serve import SWITCH_INTERVAL_S
from gateway.config import ConsentSettings, DocumentSettings
from gateway.config.keys import KEYS, sections
from gateway.config.loading import variable_of
from gateway.domain.decision import Reason, explain, explain_korean
from gateway.domain.document import DocumentType
from gateway.metrics import Metrics
from gateway.net.connection import UNSENT_LIMIT_BYTES
from gateway.ops.counterparts import LOOPBACK, free_port
from gateway.ops.demo.scenes import SCENES
from gateway.ops.phantom import CtHead, write_series
from gateway.scp import admission, store
from gateway.store.blanks import BLANK_COUNT
from gateway.store.writer import BATCH_COUNT, COMMIT_INTERVAL_S
from gateway.web import consents, documents, download, health, problems, status
from gateway.wire.codes import REJECT_REASONS, RejectReasonUser, RejectResult, RejectSource
from gateway.wire.head import HEAD_LIMIT_BYTES
from gateway.wire.pdu import AssociateRJ
from gateway.wire.status import SOP_CLASS_NOT_SUPPORTED, UNRECOGNIZED_OPERATION
from tests.wait import wait_until

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "docker").glob("*.md")])
ADMINISTRATORS = REPOSITORY / "docs/for-administrators.md"
ARCHITECTURE = REPOSITORY / "docs/architecture.md"
CLINICIANS = REPOSITORY / "docs/for-clinicians.md"

LINK = re.compile(r"\[[^\]\n]+\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?:^|(?<=[\s(/]))(?:in-)?gateway((?:\s+(?:\"[^\"]*\"|[^\s\"#)|]+))+)")
MESSAGE_GAP = "…"
"""Stands in a quoted message for what differs from case to case."""

PACKAGE_OR_IMAGE_INDEX = re.compile(r"pypi\.|npmjs\.|debian\.net|docker\.i" + r"o|ghcr\.i" + r"o|quay\.i" + "o")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def ids(page: object) -> str | None:
    return page.relative_to(REPOSITORY).as_posix() if isinstance(page, Path) else None


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of these languages, continuation lines joined."""
    found = [text for language, text in FENCE.findall(read(page)) if language in languages]
    return [re.sub(r"\s*\\\n\s*", " ", text) for text in found]


def spans(page: Path) -> list[str]:
    """Inline code outside of fenced blocks."""
    return SPAN.findall(FENCE.sub("", read(page)))


def table(page: Path, first_header: str) -> list[list[str]]:
    """The rows of the table whose header begins with this cell, without markup in the cells."""
    lines = read(page).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_header} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip().strip("`") for cell in line.strip().strip("|").split("|")])
    return rows


def anchors(page: Path) -> set[str]:
    """The anchors a forge gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", read(page))):
        path, _, anchor = target.partition("#")
        assert ":" not in path, f"{target}: only files of the repository are linked"
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen = {REPOSITORY / "README.md"}
    waiting = list(seen)
    while waiting:
        page = waiting.pop()
        targets = (target.partition("#")[0] for target in LINK.findall(FENCE.sub("", read(page))))
        for found in ((page.parent / target).resolve() for target in targets if target):
            index = found / "README.md" if found.is_dir() else found
            if index.suffix == ".md" and index not in seen:
                seen.add(index)
                waiting.append(index)

    assert [ids(page) for page in PAGES if page not in seen] == []


# --- commands ---------------------------------------------------------------------------------------------------------


def commands(page: Path) -> Iterator[tuple[list[str], bool]]:
    """The arguments of every `gateway` command on a page, and whether it stands in a block, whole and to be run."""
    for block in blocks(page, "sh", "ini"):
        for line in block.splitlines():
            if not line.startswith("alias"):
                bare = re.sub(r"(^|\s)#.*", "", line)
                yield from ((shlex.split(found), True) for found in COMMAND.findall(bare))
    for span in spans(page):
        if match := COMMAND.fullmatch(span):
            yield shlex.split(match[1]), False


def resolved(arguments: list[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, and the words after."""
    command: Any = get_command(app)
    rest = list(arguments)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in command.commands, f"gateway {shlex.join(arguments)}: there is no {name}"
        command = command.commands[name]
    return command, rest


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_and_their_options_exist(page: Path) -> None:
    for arguments, is_whole in commands(page):
        command, rest = resolved(arguments)
        options = {name: one for one in command.params if one.param_type_name == "option" for name in one.opts}
        positional = [one for one in command.params if one.param_type_name == "argument"]
        given = set()
        values = 0
        while rest:
            word = rest.pop(0)
            if not word.startswith("-"):
                values += 1
                continue
            assert word in options or word == "--help", f"gateway {shlex.join(arguments)}: there is no {word}"
            given.add(word)
            if word in options and not options[word].is_flag:
                assert rest, f"gateway {shlex.join(arguments)}: {word} without a value"
                rest.pop(0)
        many = any(one.nargs == -1 for one in positional)
        assert many or values <= len(positional), f"gateway {shlex.join(arguments)}: too many arguments"
        if is_whole and "--help" not in given:
            required = [one for one in command.params if one.required]
            missing = [one.name for one in required if one in options.values() and not given & set(one.opts)]
            assert missing == [], f"gateway {shlex.join(arguments)}"
            assert values >= sum(one in positional for one in required), f"gateway {shlex.join(arguments)}"


def test_there_are_commands_to_check() -> None:
    assert len([arguments for page in PAGES for arguments, _ in commands(page)]) > 40


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", read(REPOSITORY / "Makefile"), re.MULTILINE))
    used = [re.findall(r"^make ((?:[a-z]+ ?)+)", block, re.MULTILINE) for page in PAGES for block in blocks(page, "sh")]

    words = {word for lines in used for line in lines for word in line.split()}
    assert words
    assert words <= targets


def test_the_readme_begins_with_two_commands_and_a_page_for_each_role() -> None:
    first_screen = "\n".join(read(REPOSITORY / "README.md").splitlines()[:50])

    (block, *_) = FENCE.findall(first_screen)
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make demo", "make test"]
    roles = [target for target in LINK.findall(first_screen) if target.startswith("docs/for-")]
    assert len(roles) == 3


def test_the_readme_shows_the_demo_as_it_is() -> None:
    (shown,) = blocks(REPOSITORY / "README.md", "text")

    for number, scene in enumerate(SCENES, start=1):
        assert f"{number}. {scene.__doc__}" in shown
    assert f"{explain(Reason.NO_CONSENT)} {explain_korean(Reason.NO_CONSENT)}" in shown


def test_exit_codes_are_explained() -> None:
    assert [int(row[0]) for row in table(REPOSITORY / "README.md", "code")] == [int(code) for code in ExitCode]


def test_layers_are_those_that_are_checked() -> None:
    contracts = tomllib.loads(read(REPOSITORY / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    parts = {path.stem for path in (REPOSITORY / "gateway").iterdir()}
    there = [found for layer in layers if (found := parts & set(re.findall(r"\w+", layer)))]

    told = [set(re.findall(r"\w+", row[0])) for row in table(ARCHITECTURE, "layer")]
    assert told == there


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("architecture.md", f"wait up to {COMMIT_INTERVAL_S * 1000:g} ms"),
        ("architecture.md", f"checked every {ConsentSettings().refresh_s:g} s"),
        ("architecture.md", f"every block of {download.BLOCK_BYTES >> 10} KiB"),
        ("decisions/0002-spool-record-is-the-truth.md", f"\n{BLANK_COUNT} empty files"),
        ("decisions/0003-one-writer-thread.md", f"up to {BATCH_COUNT} operations"),
        ("decisions/0003-one-writer-thread.md", f"at least {COMMIT_INTERVAL_S * 1000:g} ms apart"),
        ("decisions/0003-one-writer-thread.md", f"from 5 ms to {SWITCH_INTERVAL_S * 1000:g} ms"),
        ("decisions/0006-consent-epoch.md", f"`consent.refresh_s` ({ConsentSettings().refresh_s:g} s)"),
        ("decisions/0006-consent-epoch.md", f"`consent.stale_after_s` ({ConsentSettings().stale_after_s:g} s)"),
        ("decisions/0006-consent-epoch.md", f"below {UNSENT_LIMIT_BYTES >> 10} KiB"),
        ("for-administrators.md", f"beyond {HEAD_LIMIT_BYTES >> 10} KiB"),
        ("for-clinicians.md", f"at most {DocumentSettings().limit_bytes >> 20} MiB"),
    ],
)
def test_numbers_are_those_in_force(page: str, words: str) -> None:
    assert words in read(REPOSITORY / "docs" / page)


# --- settings, metrics, events, messages ------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_settings_exist(page: Path) -> None:
    names = [match[0] for span in spans(page) if (match := re.match(r"[a-z]+\.[a-z_]+(?= = |=|$)", span))]
    modules = {f"{'.'.join(path.relative_to(REPOSITORY).with_suffix('').parts[1:])}" for path in _modules()}
    files = {path.name for folder in (REPOSITORY, REPOSITORY / "docker") for path in folder.iterdir()}
    settings = [name for name in names if name.partition(".")[0] in sections() and name not in modules | files]

    assert [name for name in settings if name not in KEYS] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_variables_exist(page: Path) -> None:
    known = {variable_of(key) for key in KEYS} | {"GATEWAY_CONFIG"}

    assert set(re.findall(r"GATEWAY_[A-Z_]+[A-Z]", read(page))) <= known


def test_every_metric_is_explained() -> None:
    families = list(Metrics().registry.collect())
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}

    assert {row[0] for row in table(ADMINISTRATORS, "metric")} == names


def _modules() -> list[Path]:
    return sorted((REPOSITORY / "gateway").rglob("*.py"))


@cache
def literals() -> str:
    """Every text that stands in the gateway's code, implicit concatenations joined; a gap where a value is put in."""
    found = []
    for module in _modules():
        for node in ast.walk(ast.parse(read(module))):
            match node:
                case ast.JoinedStr(values=values):
                    parts = (part.value if isinstance(part, ast.Constant) else MESSAGE_GAP for part in values)
                    found.append("".join(map(str, parts)))
                case ast.Constant(value=str(text)):
                    found.append(text)
    return "\n".join(found)


def test_events_to_look_for_are_logged() -> None:
    rows = table(ADMINISTRATORS, "event")
    events = [event for row in rows for event in re.findall(r"[a-z_]+", row[0])]

    assert len(events) > len(rows)
    assert [event for event in events if f"\n{event}\n" not in literals()] == []


def test_messages_are_quoted_as_they_are() -> None:
    messages = [row[0].replace("‹", "`").replace("›", "`") for row in table(ADMINISTRATORS, "message")]
    rejections = [AssociateRJ(RejectResult.PERMANENT, RejectSource.SERVICE_USER, r).words for r in RejectReasonUser]
    system = os.strerror(98)
    said = "\n".join((literals(), *rejections, system))

    pieces = {
        piece.strip() for message in messages for piece in re.split(f"{MESSAGE_GAP}|: (?=rejected|Address)", message)
    }
    assert len(pieces) > len(messages)
    assert [piece for piece in pieces if piece not in said] == []


# --- tables of refusals -----------------------------------------------------------------------------------------------


def test_rejections_of_associations_are_those_of_the_code() -> None:
    rejections = {value for value in vars(admission).values() if isinstance(value, AssociateRJ)}
    names = re.findall(r"_rejected\(RejectReasonUser\.(\w+)\)", read(Path(admission.__file__)))
    rejections |= {
        AssociateRJ(RejectResult.PERMANENT, RejectSource.SERVICE_USER, RejectReasonUser[name]) for name in names
    }

    told = set()
    for result, source, reason, meaning, _ in table(ADMINISTRATORS, "result"):
        kind = RejectSource(int(source))
        rejection = AssociateRJ(RejectResult(int(result)), kind, REJECT_REASONS[kind](int(reason)))
        assert rejection.words.endswith(f": {meaning}")
        told.add(rejection)
    assert told == rejections


def test_statuses_of_instances_are_those_of_the_code() -> None:
    answers = {(one.status, one.comment or "") for one in vars(store).values() if isinstance(one, store.Answer)}
    elsewhere = {(SOP_CLASS_NOT_SUPPORTED, ""), (UNRECOGNIZED_OPERATION, "")}
    free_text = {(store.malformed("...").status, "*what is wrong*")}

    told = {(int(code, 16), comment) for code, comment, *_ in table(ADMINISTRATORS, "status | error comment")}
    assert told == answers | elsewhere | free_text


def test_problems_of_rest_are_those_of_the_code() -> None:
    kinds = [kind for kind in vars(problems).values() if isinstance(kind, problems.ProblemType)]

    told = [(int(code), name, title) for code, name, title in table(ADMINISTRATORS, "status | type")]
    assert sorted(told) == sorted((int(kind.status), kind.name, kind.title) for kind in kinds)


def test_reasons_of_decisions_are_in_the_words_of_the_code() -> None:
    for name, words in table(ADMINISTRATORS, "reason"):
        assert words in (explain(Reason(name)), f"{explain(Reason(name))} {explain_korean(Reason(name))}")


def test_document_types_are_those_of_the_code() -> None:
    assert table(CLINICIANS, "type") == [[kind.value, kind.korean] for kind in DocumentType]


def test_paths_of_rest_are_those_of_the_code() -> None:
    routes = [route for module in (documents, consents, status, health) for route in module.router.routes]
    paths = {f"{method} {route.path}" for route in routes for method in route.methods}  # type: ignore[attr-defined]

    assert {row[0] for row in table(CLINICIANS, "method and path")} == paths


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_no_index_of_packages_or_images_is_named(page: Path) -> None:
    assert PACKAGE_OR_IMAGE_INDEX.findall(read(page)) == []


# --- the README's daily use, run --------------------------------------------------------------------------------------

EXPECTED = {
    "gateway echo HOSPITAL_B": ExitCode.UNREACHABLE,  # nothing listens there
    "gateway send GATEWAY@": ExitCode.DENIED,  # this patient has not consented
}
"""Commands of the README that fail here, for want of a second hospital."""

START_TIMEOUT_S = 60.0
"""A cold Python on a busy machine."""

STOP_TIMEOUT_S = 30.0


def daily_use() -> list[str]:
    """The commands of the README's section, in order."""
    section = read(REPOSITORY / "README.md").partition("## Daily use\n")[2].partition("\n## ")[0]
    joined = [re.sub(r"\s*\\\n\s*", " ", text) for _, text in FENCE.findall(section)]
    return [line for block in joined for line in block.splitlines() if not line.startswith("alias")]


@dataclass(slots=True)
class Site:
    """A folder with what the commands mention, and an environment in which `gateway` is this one on free ports.

    What a person carries from one command to the next is carried here: the token, and the id of the document.
    """

    folder: Path
    environment: dict[str, str]
    ports: dict[str, str]
    document_id: str = ""

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """One command of the README, in a shell of its own."""
        command = self.here(line).replace("curl ", "curl --silent --show-error --fail ")
        script = f"{command}\ncode=$?\nprintf '%s' \"${{TOKEN:-}}\" >token\nexit $code\n"
        ran = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.environment["TOKEN"] = (self.folder / "token").read_text(encoding="utf-8")
        self.document_id = next(iter(re.findall(r'"id":"(\w+)"', ran.stdout)), self.document_id)
        return ran

    def here(self, line: str) -> str:
        """The command with the ports and the document of this site."""
        ported = re.sub(r"\b(11112|8080)\b", lambda match: self.ports[match[0]], line)
        return ported.replace("DOCUMENT_ID", self.document_id)

    @contextmanager
    def node(self) -> Iterator[None]:
        """`gateway serve`, ready; ended by SIGTERM, which must do."""
        with (self.folder / "log").open("wb") as log:
            argv = [self.folder / "bin/gateway", "serve"]
            node = subprocess.Popen(argv, cwd=self.folder, env=self.environment, stderr=log)
            try:
                wait_until(lambda: _listens(int(self.ports["8080"])), START_TIMEOUT_S)
                yield
                node.send_signal(signal.SIGTERM)
                assert node.wait(STOP_TIMEOUT_S) == 0
            finally:
                node.kill()
                node.wait()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/gateway"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gateway "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    write_series(tmp_path / "DIR", CtHead(instances=2, rows=16, columns=16, patient_id="67890"))
    (tmp_path / "letter.pdf").write_bytes(b"%PDF-1.4\ntrailer<<>>\n%%EOF\n")
    dicom_port = free_port()
    ports = {"11112": str(dicom_port), "8080": str(free_port(dicom_port))}
    environment = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "GATEWAY__SCP__PORT": ports["11112"],
        "GATEWAY__WEB__PORT": ports["8080"],
        "GATEWAY__SPOOL__FREE_SPACE_FLOOR_BYTES": str(16 << 20),
    }
    return Site(tmp_path, environment, ports)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's REST examples need curl")
def test_the_commands_of_daily_use_do_what_they_say(site: Site) -> None:
    wrong = []
    with ExitStack() as stack:
        for line in daily_use():
            if line == "gateway serve":
                stack.enter_context(site.node())
                continue
            ran = site.run(line)
            expected = next((code for start, code in EXPECTED.items() if line.startswith(start)), ExitCode.OK)
            if ran.returncode != expected:
                wrong.append((line, ran.returncode, ran.stdout, ran.stderr))

    assert wrong == []
    assert len(daily_use()) > 15


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((LOOPBACK, port)) == 0
