"""How requests to an Orthanc are made and what their failures mean: retries, refusals, words for people.

The rule behind it: a request that may have been carried out is never sent again by itself.
"""

import json

from requests import Response
from requests.adapters import HTTPAdapter
from requests.exceptions import (
    ChunkedEncodingError,
    ConnectionError,
    ConnectTimeout,
    JSONDecodeError,
    ReadTimeout,
    RequestException,
    SSLError,
    TooManyRedirects,
)
from urllib3.exceptions import NewConnectionError
from urllib3.util import Retry

CONNECTIONS = 10
"""Kept open to one Orthanc; more threads than this open further ones for a single request."""
RETRIES = 2
"""Of a request that changes nothing, when its connection breaks: a kept one may just have been closed."""
RETRY_BACK_OFF_S = 0.1
"""Before the second retry; doubled for each one after it."""
MESSAGE_MAX_CHARS = 120
"""Of Orthanc's name for an error; the longest it has is below 100."""

HTTP_SUCCESS = range(200, 300)
HTTP_UNAUTHORIZED = 401

_ADVICE = {
    HTTP_UNAUTHORIZED: "user or password refused; give those registered at that Orthanc",
    403: "not allowed; check that user's rights, and whether that Orthanc allows remote access",
    404: "it is not there",
    409: "it is being changed by another request; try again",
    502: "unavailable; try again later",
    503: "unavailable; try again later",
}


class Refused(Exception):
    """An answer whose status is not a success. `message` is Orthanc's name for the error, or empty."""

    def __init__(self, response: Response) -> None:
        self.status = response.status_code
        self.message = _message(response)
        super().__init__(f"HTTP {self.status}")


def adapter() -> HTTPAdapter:
    """What carries the requests of one session; it repeats none that may have changed something."""
    retries = Retry(
        total=RETRIES,
        connect=0,
        read=RETRIES,
        status=0,
        allowed_methods=frozenset({"GET", "HEAD"}),
        respect_retry_after_header=False,
        backoff_factor=RETRY_BACK_OFF_S,
    )
    return HTTPAdapter(max_retries=retries, pool_maxsize=CONNECTIONS)


_UNKNOWN = "whether it was done is unknown, look before trying again"
_WORDS: tuple[tuple[type[Exception], str], ...] = (  # the first that fits
    (SSLError, "the TLS connection failed; check its certificate and the CA file given for it"),
    (ConnectTimeout, "no connection in time; check host, port and firewall"),
    (ReadTimeout, f"no answer in time; {_UNKNOWN}"),
    (JSONDecodeError, "the answer is not JSON; check that the URL is that of an Orthanc"),
    (ChunkedEncodingError, f"the answer was cut short; {_UNKNOWN}"),
    (TooManyRedirects, "it redirects elsewhere; give the URL it redirects to"),
    (ConnectionError, f"the connection broke; {_UNKNOWN}"),
    (RequestException, "the request failed; see the log of that Orthanc"),
    (Exception, "the answer is not what an Orthanc says; check its URL and version"),
)


def explain(error: Exception) -> str:
    """What happened and what to do, without anything the peer could have put patient data into."""
    if isinstance(error, Refused):
        message = f" ({error.message})" if error.message else ""
        return f"HTTP {error.status}{message}: {_ADVICE.get(error.status, 'see the log of that Orthanc')}"
    if isinstance(error, ConnectionError) and _never_connected(error):
        return "no connection; check that it runs, and its host and port"
    return next(words for kind, words in _WORDS if isinstance(error, kind))


def _never_connected(error: ConnectionError) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


def _message(response: Response) -> str:
    """Orthanc's name for the error. Its details stay out: they may quote what it was asked for."""
    try:
        answer = json.loads(response.content)
    except ValueError:
        return ""
    message = answer.get("Message") if isinstance(answer, dict) else None
    return message[:MESSAGE_MAX_CHARS] if isinstance(message, str) and message.isprintable() else ""
