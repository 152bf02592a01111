"""The whole exception tree. A denial is not in it: a denial is a `Decision`, a value.

    GatewayError
    ├── ProtocolError                  the upper layer or a message broke a rule        -> A-ABORT
    │   ├── LocalProtocolError         we asked for what the state forbids: a bug of ours
    │   └── RemoteProtocolError        the peer did; carries the A-ABORT reason to answer with
    │       ├── LimitExceeded          a length, count or depth above a named limit
    │       └── MalformedDataSet       a data set whose head cannot be read              -> 0xC000
    ├── NetworkError                   the transport or the peer let us down             -> retried
    │   ├── ConnectFailed · ConnectionLost · DeadlineExceeded
    │   ├── AssociationRejected        result, source and reason as received
    │   └── AssociationAborted         source and reason as received
    ├── StoreError                     what we keep could not be read or written         -> 0xA700, HTTP 503
    │   ├── StoreUnavailable · SpoolFull · SpoolCorrupt
    │   └── DecisionUnavailable        nobody can say whether it may go, so nothing goes
    ├── InputError                     a value from a user or a peer system              -> HTTP 4xx, exit code 2
    │   ├── ConfigError                file, line and what was expected
    │   ├── NotFound · Conflict
    │   ├── NotPermitted               who asks may not do this                          -> HTTP 403
    │   └── DocumentRejected           field and reason
    └── PeerSystemError                another system's HTTP interface failed us

Messages say what happened, to which peer and what to do next. They hold no patient data.
"""


class GatewayError(Exception):
    """Base of every error the gateway raises on purpose."""


class ProtocolError(GatewayError):
    """A rule of PS3.7 or PS3.8 was broken."""


class LocalProtocolError(ProtocolError):
    """We asked the protocol for something its state forbids."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule; `reason` is the A-ABORT reason/diagnostic to answer with (PS3.8 §9.3.8)."""

    def __init__(self, message: str, reason: int = 0) -> None:
        super().__init__(message)
        self.reason = reason


class LimitExceeded(RemoteProtocolError):
    """The peer sent more than a named limit allows."""


class MalformedDataSet(RemoteProtocolError):
    """The head of a data set cannot be read as its transfer syntax says (PS3.5 §7)."""


class NetworkError(GatewayError):
    """The transport failed, or the peer ended the association."""


class ConnectFailed(NetworkError):
    """No transport connection to the peer."""


class ConnectionLost(NetworkError):
    """The peer went away without a word."""


class DeadlineExceeded(NetworkError):
    """The peer did not do its part in the time it had."""


class AssociationRejected(NetworkError):
    """A-ASSOCIATE-RJ received (PS3.8 §9.3.4)."""

    def __init__(self, message: str, result: int, source: int, reason: int) -> None:
        super().__init__(message)
        self.result = result
        self.source = source
        self.reason = reason


class AssociationAborted(NetworkError):
    """A-ABORT received (PS3.8 §9.3.8)."""

    def __init__(self, message: str, source: int, reason: int) -> None:
        super().__init__(message)
        self.source = source
        self.reason = reason


class StoreError(GatewayError):
    """What the gateway keeps could not be read or written."""


class StoreUnavailable(StoreError):
    """The database does not answer."""


class SpoolFull(StoreError):
    """Free space is below the floor."""


class SpoolCorrupt(StoreError):
    """A spool record does not hold what it says."""


class DecisionUnavailable(StoreError):
    """Participation or consent cannot be read freshly enough to decide on."""


class InputError(GatewayError):
    """A value given by a user or another system is not acceptable."""


class ConfigError(InputError):
    """The configuration is wrong: which file, which line, what was expected."""

    def __init__(self, message: str, file: str | None = None, line: int | None = None) -> None:
        where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(where + message)
        self.file = file
        self.line = line


class NotFound(InputError):
    """What was named does not exist."""


class Conflict(InputError):
    """What was asked contradicts what is there."""


class NotPermitted(InputError):
    """Who asks may not do what was asked, whatever the values."""


class DocumentRejected(InputError):
    """A document was refused; `field` names the part of the request that is at fault."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class PeerSystemError(GatewayError):
    """Another system's HTTP interface failed, or answered something that is not a success."""
