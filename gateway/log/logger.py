"""The logger modules use: an event, which is a literal phrase, and fields."""

import logging
import re
from collections.abc import Mapping
from typing import Final

import structlog

from gateway.log.clean import WITHHELD, clean_fields

# Without digits and short: neither an identifier nor a name of another script fits in by mistake.
_EVENT: Final = re.compile(r"[A-Za-z][A-Za-z_ -]{0,79}")


class Logger:
    """Writes events of one module; `bind` gives one that adds the same fields to each."""

    __slots__ = ("_bound", "_fields", "_stdlib")

    def __init__(self, name: str, fields: Mapping[str, object] | None = None) -> None:
        self._stdlib = logging.getLogger(name)
        self._fields = dict(fields or {})
        self._bound: structlog.stdlib.BoundLogger = structlog.wrap_logger(
            self._stdlib,
            processors=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
            wrapper_class=structlog.stdlib.BoundLogger,
            context_class=dict,
        )

    def bind(self, **fields: object) -> "Logger":
        """A logger for the same module that writes `fields` with every event."""
        return Logger(self._stdlib.name, {**self._fields, **fields})

    def debug(self, event: str, /, **fields: object) -> None:
        """Detail for finding a fault. `event` is a literal phrase; see the module for fields."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        """What happened in the normal course of things."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """What somebody should look at; pass an exception as `exc_info` or `error`."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        """What failed and stays failed until somebody acts; pass an exception as `exc_info` or `error`."""
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """`error` with the exception being handled."""
        self._write(logging.ERROR, event, {"exc_info": True, **fields})

    def _write(self, level: int, event: str, fields: Mapping[str, object]) -> None:
        if self._stdlib.isEnabledFor(level):
            clean = clean_fields({**self._fields, **fields})
            self._bound.log(level, event if _EVENT.fullmatch(event) else WITHHELD, **clean)


def get(name: str) -> Logger:
    """The logger of a module: `get(__name__)`. Safe before `configure`, which decides where events go."""
    return Logger(name)
