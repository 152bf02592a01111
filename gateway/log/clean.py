"""What of a value may be written: the allow-list of fields, and how values and exceptions are rendered."""

import math
import re
import sys
import traceback
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from types import TracebackType
from typing import Final
from uuid import UUID

from gateway.errors import GatewayError

Scalar = str | int | float | bool | None

# A group of names a paragraph, not a name a line.
# fmt: off
ALLOWED_FIELDS: Final = frozenset({
    # the node and its parts
    "node", "version", "host", "port", "address", "path", "line", "key", "revision", "signal", "thread",
    "method", "route", "http_status",
    # peers and associations, by their registered names and our own numbers
    "peer", "destination", "source", "recipient", "institution", "institution_oid", "calling_ae_title",
    "called_ae_title", "ae_title", "association", "association_id", "message_id", "abstract_syntax",
    "sop_class_uid", "transfer_syntax_uid", "maximum_length_bytes", "result", "abort_source", "reason",
    "diagnostic", "status", "state", "event_number",
    # what we keep, by our own ids
    "record", "record_id", "delivery", "delivery_id", "transfer", "transfer_id", "decision", "decision_id",
    "document", "document_id", "consent_id", "case_id", "request_id", "token_id", "user_id", "job_id",
    "route_id", "media_type", "document_type", "purpose", "role",
    # counts and measures
    "count", "instances", "associations", "half_open", "deliveries", "waiting", "attempt", "attempts",
    "limit", "limit_bytes", "bytes", "length_bytes", "free_bytes", "floor_bytes", "rate_bytes_per_s",
    "duration_s", "delay_s", "timeout_s", "age_s", "epoch", "delivered", "failed", "denied", "refused",
    "quarantined", "removed", "recovered", "outcome", "evidence", "error_count", "category",
})
# fmt: on

LONGEST_VALUE: Final = 256  # characters; enough for every name above, too short to pour a data set into
MOST_FRAMES: Final = 8  # of an exception's path through the code, innermost last
WITHHELD: Final = "withheld"

# Unicode categories of line ends, terminal sequences, bidi overrides, surrogates and the unassigned.
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# 주민등록번호: a birth date and seven digits; not inside a longer number or a UID.
_RESIDENT_NUMBER: Final = re.compile(r"(?<![\d.])\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])[\s-]?\d{7}(?![\d.])")


def clean_fields(fields: Mapping[str, object]) -> dict[str, Scalar]:
    """The fields that may be written, in a form that may be; `dropped_fields` counts the others."""
    clean: dict[str, Scalar] = {}
    dropped = 0
    for name, value in fields.items():
        if name in ("exc_info", "error"):
            error = exception_in(value)
            clean |= describe(error) if error else {}
            dropped += error is None and bool(value)
        elif name in ALLOWED_FIELDS:
            clean[name] = clean_value(value)
        else:
            dropped += 1
    if dropped:
        clean["dropped_fields"] = dropped
    return clean


def clean_value(value: object) -> Scalar:
    """A single value on a single line; of anything that could hold more than one, only the type."""
    match value:
        case Enum():
            return clean_text(value.name)
        case float() if not math.isfinite(value):
            return None  # JSON has no such number
        case None | bool() | int() | float():
            return value
        case str():
            return clean_text(value)
        case datetime() | UUID() | PurePath():
            return clean_text(str(value))
        case _:
            return f"<{type(value).__name__}>"


def clean_text(text: str) -> str:
    """Capped, without resident registration numbers, and with every character escaped that is not seen."""
    capped = text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "..."
    if capped.isascii() and capped.isprintable():
        escaped = capped
    else:
        escaped = "".join(_escaped(character) for character in capped)
    return _RESIDENT_NUMBER.sub(f"<{WITHHELD}>", escaped)


def _escaped(character: str) -> str:
    if unicodedata.category(character) in _UNPRINTABLE:
        return character.encode("unicode_escape", "surrogatepass").decode("ascii")
    return character


def describe(error: BaseException) -> dict[str, Scalar]:
    """Class, place and causes of an exception; its message only where it is ours."""
    described: dict[str, Scalar] = {"error": type(error).__qualname__}
    if isinstance(error, GatewayError):
        described["error_message"] = clean_text(str(error))
    if error.__traceback__ is not None:
        described["error_at"] = _frames(error.__traceback__)
    if causes := _causes(error):
        described["error_cause"] = " < ".join(causes)
    return described


def _causes(error: BaseException) -> list[str]:
    names: list[str] = []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    while cause is not None and len(names) < MOST_FRAMES:
        names.append(type(cause).__qualname__)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return names


def _frames(trace: TracebackType) -> str:
    """Modules and lines, outermost first; no folders, which tell of the machine and not of the fault."""
    places = [f"{frame.f_globals.get('__name__', '?')}:{line}" for frame, line in traceback.walk_tb(trace)]
    return " > ".join(places[-MOST_FRAMES:])


def exception_in(value: object) -> BaseException | None:
    """The exception meant by an `exc_info`: itself, its triple, or true for the one being handled."""
    match value:
        case BaseException():
            return value
        case True:
            return sys.exc_info()[1]
        case (_, BaseException() as error, _):
            return error
        case _:
            return None
