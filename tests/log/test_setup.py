"""Nothing of a patient comes out, by whatever way it was put in. Canaries: a name and an identifier."""

import ast
import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

import gateway
from gateway import log
from gateway.errors import StoreError
from gateway.log.setup import Format, Level

NAME = "홍길동"
LATIN_NAME = "Hong Gildong"
PATIENT_ID = "SNUH-00471189"
CANARIES = (NAME, LATIN_NAME, PATIENT_ID, "\\ud64d")


class Output(io.StringIO):
    """The stream, read back as JSON."""

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    @property
    def event(self) -> dict[str, Any]:
        (only,) = self.events
        return only


class Configure(Protocol):
    """Sends the log of the process to a stream that is checked for canaries when the test is over."""

    def __call__(self, level: Level = "debug", format: Format = "json") -> Output: ...


@pytest.fixture
def configure(capfd: pytest.CaptureFixture[str]) -> Iterator[Configure]:
    """To be called within the test, when no handler but that of `configure` is left on the root logger."""
    root = logging.getLogger()
    level_before, ours_before = root.level, logging.getLogger("gateway").level
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning)
    outputs: list[Output] = []

    def configure(level: Level = "debug", format: Format = "json") -> Output:
        outputs.append(Output())
        log.configure(level, format, outputs[-1])
        return outputs[-1]

    yield configure
    root.handlers.clear()
    root.setLevel(level_before)
    logging.getLogger("gateway").setLevel(ours_before)
    sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks
    written = "".join(capfd.readouterr()) + "".join(output.getvalue() for output in outputs)
    assert canaries_in(written) == []


def run(script: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own; none of what it writes holds a canary."""
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", script], capture_output=True, encoding="utf-8", check=False
    )
    assert canaries_in(done.stdout + done.stderr) == []
    return done


def canaries_in(written: str) -> list[str]:
    return [canary for canary in CANARIES if canary in written]


class TestOurs:
    def test_an_event_is_one_json_line(self, configure: Configure) -> None:
        output = configure()
        log.get("gateway.scp.store").info("instance received", peer="PACS A", bytes=512)
        event = output.event
        assert event.pop("timestamp").endswith("Z")
        assert event == {
            "level": "info",
            "logger": "gateway.scp.store",
            "event": "instance received",
            "peer": "PACS A",
            "bytes": 512,
        }

    def test_unlisted_fields(self, configure: Configure) -> None:
        output = configure()
        log.get("gateway.x").info("stored", patient_name=NAME, patient_id=PATIENT_ID, count=1)
        assert output.event["dropped_fields"] == 2
        assert output.event["count"] == 1

    def test_values_in_the_event(self, configure: Configure) -> None:
        output = configure()
        logger = log.get("gateway.x")
        logger.info(f"stored {NAME}")
        logger.info(f"stored {PATIENT_ID}")
        logger.info("x" * 100)
        assert [event["event"] for event in output.events] == ["withheld"] * 3

    def test_bound_fields(self, configure: Configure) -> None:
        output = configure()
        parent = log.get("gateway.x").bind(association="17", patient=NAME)
        child = parent.bind(peer="PACS")
        child.info("opened", count=2)
        parent.info("closed")
        opened, closed = output.events
        assert (opened["association"], opened["peer"], opened["count"], opened["dropped_fields"]) == (
            "17",
            "PACS",
            2,
            1,
        )
        assert "peer" not in closed

    def test_exceptions(self, configure: Configure) -> None:
        output = configure()
        logger = log.get("gateway.x")
        try:
            raise ValueError(f"{NAME} {PATIENT_ID}")
        except ValueError as error:
            logger.exception("failed")
            logger.error("failed", exc_info=error)
            logger.error("failed", error=error)
            logger.warning("failed", exc_info=sys.exc_info())
        assert [event["error"] for event in output.events] == ["ValueError"] * 4
        assert all(":" in event["error_at"] for event in output.events)

    def test_messages_of_our_exceptions(self, configure: Configure) -> None:
        output = configure()
        log.get("gateway.x").error("failed", exc_info=StoreError("disk full"))
        assert output.event["error_message"] == "disk full"

    def test_cannot_forge_a_second_line(self, configure: Configure) -> None:
        output = configure()
        log.get("gateway.x").info("opened", peer='A\n{"event": "forged"}\x1b[2J\u202e')
        assert output.event["peer"] == 'A\\n{"event": "forged"}\\x1b[2J\\u202e'
        assert output.getvalue().count("\n") == 1

    def test_levels(self, configure: Configure) -> None:
        output = configure("warning")
        logger = log.get("gateway.x")
        logger.debug("one")
        logger.info("two")
        logger.warning("three")
        logger.error("four")
        assert [event["event"] for event in output.events] == ["three", "four"]

    def test_text(self, configure: Configure) -> None:
        output = configure("info", "text")
        log.get("gateway.x").warning("slow", peer="PACS A", count=3, host="a=b", patient=NAME)
        timestamp, rest = output.getvalue().split(" ", 1)
        assert timestamp.endswith("Z")
        assert rest == 'warning gateway.x: slow peer="PACS A" count=3 host="a=b" dropped_fields=1\n'

    def test_without_configuration(self) -> None:
        script = (
            "from gateway import log; log.get('gateway.x').error('failed', peer='A', "
            f"patient='{NAME}', exc_info=ValueError('{PATIENT_ID}'))"
        )
        done = run(script)
        assert "failed" in done.stderr
        assert "ValueError" in done.stderr

    def test_a_stream_that_cannot_be_written(self) -> None:
        script = (
            "import io, logging; from gateway import log; stream = io.StringIO(); log.configure(stream=stream)\n"
            f"stream.close(); log.get('gateway.x').error('failed', peer='{NAME}')\n"
            f"logging.getLogger('pydicom').error('broken %d', '{NAME}'); print('goes on')"
        )
        assert run(script).stdout == "goes on\n"


class TestOtherLibraries:
    @pytest.mark.parametrize(
        "name", ["pynetdicom.assoc", "pydicom", "uvicorn.error", "sqlalchemy.engine", "alembic", "x"]
    )
    def test_arguments_never_come_out(self, configure: Configure, name: str) -> None:
        output = configure()
        logger = logging.getLogger(name)
        logger.error("cannot store %s", NAME)
        logger.error("cannot store %(id)s", {"id": PATIENT_ID})
        logger.warning("%d is not a number", LATIN_NAME)  # would fail to format
        assert [event["event"] for event in output.events] == [
            "cannot store %s",
            "cannot store %(id)s",
            "%d is not a number",
        ]
        assert {event["logger"] for event in output.events} == {name}

    def test_texts_put_together_at_run_time_never_come_out(self, configure: Configure) -> None:
        output = configure()
        logger = logging.getLogger("pydicom")
        logger.warning(f"Invalid value for VR PN: '{LATIN_NAME}'")
        logger.warning("Invalid value: " + NAME)
        logger.warning(ValueError(PATIENT_ID))
        for event in output.events:
            assert event["event"] == "withheld"
            assert event["location"].startswith("test_setup:")

    def test_exceptions(self, configure: Configure) -> None:
        output = configure()
        try:
            raise ValueError(NAME)
        except ValueError:
            logging.getLogger("uvicorn.error").exception("Exception in application")
        assert output.event["event"] == "Exception in application"
        assert output.event["error"] == "ValueError"

    def test_stacks_and_extras(self, configure: Configure) -> None:
        output = configure()
        patient = NAME
        logging.getLogger("x").error("broken", stack_info=True, extra={"patient": patient, "peer": LATIN_NAME})
        assert set(output.event) == {"timestamp", "level", "logger", "event", "location"}

    def test_only_warnings_and_errors(self, configure: Configure) -> None:
        output = configure()
        chatty = logging.getLogger("pynetdicom.chatty")
        chatty.setLevel(logging.DEBUG)
        chatty.info("patient %s", NAME)
        chatty.debug("patient %s", NAME)
        assert output.events == []

    def test_handlers_they_brought_along_are_taken_off(self, configure: Configure) -> None:
        own = Output()
        handler = logging.StreamHandler(own)
        logging.getLogger("uvicorn.access").addHandler(handler)
        logging.getLogger("uvicorn.access").propagate = False
        output = configure()
        logging.getLogger("uvicorn.access").error("GET %s", PATIENT_ID)
        assert own.getvalue() == ""
        assert output.event["event"] == "GET %s"

    def test_names_of_loggers_cannot_forge_lines(self, configure: Configure) -> None:
        output = configure()
        logging.getLogger("a\nb").error("x")
        assert output.event["logger"] == "a\\nb"


class TestHooks:
    def test_an_uncaught_exception(self, configure: Configure) -> None:
        output = configure()
        error = ValueError(NAME)
        sys.excepthook(ValueError, error, None)
        assert output.event["error"] == "ValueError"

    def test_an_uncaught_exception_ends_the_process_with_one_line(self) -> None:
        script = (
            f"from gateway import log; log.configure()\npatient = '{NAME}'\nraise ValueError('{PATIENT_ID} ' + patient)"
        )
        done = run(script)
        assert done.returncode == 1
        assert json.loads(done.stderr)["error"] == "ValueError"

    def test_an_uncaught_exception_in_a_thread(self, configure: Configure) -> None:
        output = configure()
        thread = threading.Thread(target=int, args=(NAME,))
        thread.start()
        thread.join()
        assert output.event["event"] == "uncaught exception in thread"
        assert output.event["error"] == "ValueError"

    def test_an_exception_in_a_destructor(self, configure: Configure) -> None:
        output = configure()

        class Broken:
            def __del__(self) -> None:
                raise ValueError(NAME)

        Broken()
        assert output.event["error"] == "ValueError"

    def test_python_warnings(self) -> None:
        done = run(
            "import warnings; from gateway import log; log.configure()\n"
            f"warnings.warn('Invalid value for PN: ' + '{NAME}')"
        )
        event = json.loads(done.stderr)
        assert (event["category"], event["path"], event["line"]) == ("UserWarning", "<string>", 2)


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of a logger in the product, with its place."""
    levels = {"debug", "info", "warning", "error", "exception", "bind"}
    for source in Path(gateway.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in levels:
                target = node.func.value
                name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
                if name.lstrip("_").lower() in ("log", "logger"):
                    yield f"{source.name}:{node.lineno}", node


def test_the_product_logs() -> None:
    assert list(calls())  # else the two tests below look in the wrong place


def test_every_event_of_ours_is_a_phrase_without_values() -> None:
    """One put together at run time would be withheld when it is written; this finds it before."""
    wrong = [place for place, call in calls() for event in call.args if not is_phrase(event)]
    assert wrong == []


def is_phrase(event: ast.expr) -> bool:
    return isinstance(event, ast.Constant) and not any(character.isdigit() for character in str(event.value))


def test_every_field_of_ours_is_on_the_list() -> None:
    """One that is not would be left out when it is written; this finds it before."""
    known = log.ALLOWED_FIELDS | {"exc_info", "error"}
    wrong = [f"{place} {field.arg}" for place, call in calls() for field in call.keywords if field.arg not in known]
    assert wrong == []
