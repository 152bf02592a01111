"""Logging that cannot tell on a patient: events with named fields, one line each, to one stream.

What is written is chosen by an allow-list, never by a deny-list:

- a field is written when its name is in `ALLOWED_FIELDS`; the others are counted in `dropped_fields`;
- an event is a short phrase without digits, so that no value fits into it; values go into fields;
- of an exception the class and the place are written, and the message only of a `GatewayError`, whose
  messages are clean by contract;
- of other libraries only warnings and errors are written, and their text only where it stands word for word
  in their source, as then it holds no value.

Uncaught exceptions and Python warnings go the same way. A server that brings its own logging set-up (uvicorn)
has to be started without it (`log_config=None`).
"""

from gateway.log.clean import ALLOWED_FIELDS
from gateway.log.logger import Logger, get
from gateway.log.setup import configure

__all__ = ["ALLOWED_FIELDS", "Logger", "configure", "get"]
