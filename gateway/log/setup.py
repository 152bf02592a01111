"""Where events go: one handler for the whole process, and what it makes of records that are not ours."""

import linecache
import logging
import re
import sys
import threading
import warnings
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from json import dumps
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final, Literal, TextIO

import structlog

from gateway.log.clean import WITHHELD, clean_text, describe, exception_in
from gateway.log.logger import get

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["json", "text"]

_OURS: Final = "gateway"
_LOG: Final = get(_OURS)
_HEAD: Final = ("timestamp", "level", "logger", "event")
_OWN_HANDLERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "pynetdicom", "sqlalchemy", "alembic")


def configure(level: Level = "info", format: Format = "json", stream: TextIO | None = None) -> None:
    """Send every logger of the process through the filter to `stream` (standard error); called at start.

    Replaces the handlers of the root logger and the hooks for uncaught exceptions and Python warnings.
    """
    handler = _Handler(sys.stderr if stream is None else stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _RENDERERS[format]],
            foreign_pre_chain=[_from_other_library],
            use_get_message=False,
        )
    )
    handler.addFilter(_ours_or_severe)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OURS).setLevel(level.upper())
    for name in _OWN_HANDLERS:  # a handler of its own would write past the filter
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = True
    _install_hooks()


class _Handler(logging.StreamHandler[TextIO]):
    """Stays silent where it cannot write: the stock handler would print the record, unfiltered."""

    def handleError(self, record: logging.LogRecord) -> None:
        return


def _ours_or_severe(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or f"{record.name}.".startswith(f"{_OURS}.")


def _from_other_library(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A record not from `Logger`: who, how severe, where, and its text if that is a literal."""
    record: logging.LogRecord = event_dict["_record"]
    error = exception_in(event_dict.get("exc_info"))
    now = datetime.fromtimestamp(record.created, tz=UTC)
    return {
        "_record": record,
        "_from_structlog": False,
        "timestamp": now.isoformat().replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": clean_text(record.name),
        "event": clean_text(record.msg) if _is_literal(record) else WITHHELD,
        "location": clean_text(f"{record.module}:{record.lineno}"),
        **(describe(error) if error else {}),
    }


def _is_literal(record: logging.LogRecord) -> bool:
    """Whether the text stands in the source that logged it: one put together at run time may hold a value."""
    if not isinstance(record.msg, str):
        return False
    source = "".join(linecache.getlines(record.pathname))
    return any(f"{quote}{record.msg}{quote}" in source for quote in "\"'")


def _install_hooks() -> None:
    """Uncaught exceptions and warnings carry free text; the default hooks would print it."""
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable
    warnings.showwarning = _warned


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        _LOG.error("uncaught exception", exc_info=error)


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    _LOG.error("uncaught exception in thread", exc_info=args.exc_value)


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    _LOG.error("exception could not be raised", exc_info=args.exc_value)


def _warned(  # noqa: PLR0917 - the arguments are those of warnings.showwarning
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    _LOG.warning("python warning", category=category.__name__, path=PurePath(filename).name, line=lineno)


def _json(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> str:
    return dumps(_ordered(event_dict), ensure_ascii=False)


def _text(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> str:
    fields = _ordered(event_dict)
    timestamp, level, name, event = (fields.pop(key) for key in _HEAD)
    shown = "".join(f" {key}={_bare(value)}" for key, value in fields.items())
    return f"{timestamp} {level:<7} {name}: {event}{shown}"


def _bare(value: object) -> str:
    text = str(value)
    return text if re.fullmatch(r"[^\s\"=]+", text) else dumps(text, ensure_ascii=False)


def _ordered(event_dict: Mapping[str, Any]) -> dict[str, Any]:
    return {key: event_dict[key] for key in _HEAD} | dict(event_dict)


_RENDERERS: Final = {"json": _json, "text": _text}
