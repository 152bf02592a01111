"""The settings tree: what a node may be told, units in the names, the reason of a bound beside it.

A description is what the starter file, `config show` and an error message print, so it is written once, here.
A field with `repr=False` is a secret: it is masked wherever settings are shown.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
MINUTE_S: Final = 60
HOUR_S: Final = 60 * MINUTE_S
DAY_S: Final = 24 * HOUR_S

POSTGRESQL: Final = "postgresql+psycopg"
_SERVERS: Final = ("postgresql", POSTGRESQL)

_AE_TITLE: Final = re.compile(r"[ -\[\]-~]{1,16}")  # PS3.5 §6.2: G0 repertoire without backslash
_UID: Final = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")  # PS3.5 §9.1: no leading zeros
_UID_LENGTH: Final = 64
_HOST_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_HOST_LENGTH: Final = 253

_Number = TypeVar("_Number", int, float)


def _number(default: _Number, low: _Number, high: _Number, description: str) -> _Number:
    """A number within `low` and `high`, both included; a flag or a text is not a number."""
    field: _Number = Field(default, strict=True, ge=low, le=high, description=description)
    return field


def _expected(what: str) -> PydanticCustomError:
    return PydanticCustomError("expected", "{what}", {"what": what})


def _contradiction(what: str, *keys: str) -> PydanticCustomError:
    """Two settings, each acceptable alone, that cannot both stand; `keys` are their dotted keys."""
    return PydanticCustomError("contradiction", "{what}", {"what": what, "keys": keys})


def _ae_title(value: str) -> str:
    if not _AE_TITLE.fullmatch(value) or value != value.strip():
        raise _expected("an AE title (PS3.5 §6.2): 1 to 16 printable ASCII characters, no backslash, no outer space")
    return value


def _uid(value: str) -> str:
    if len(value) > _UID_LENGTH or not _UID.fullmatch(value):
        raise _expected("UIDs (PS3.5 §9.1): numbers without leading zeros, joined by dots, at most 64 characters")
    return value


def _host(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        labels = value.removesuffix(".").split(".")
        numeric = labels[-1].isdigit()  # 10.0.0.256 is a mistyped address, not a name
        if numeric or len(value) > _HOST_LENGTH or not all(_HOST_LABEL.fullmatch(part) for part in labels):
            raise _expected('an IP address or a host name, such as "127.0.0.1" or "0.0.0.0"') from None
    return value


def _database_url(value: str) -> str:
    scheme, _, rest = value.partition("://")
    is_sqlite = scheme == "sqlite" and rest.startswith("//") and len(rest) > len("//")
    if value.isprintable() and (is_sqlite or (scheme in _SERVERS and _has_database(value))):
        return value
    raise _expected("postgresql://user:password@host/database, or sqlite:/// and an absolute path (four slashes)")


def _has_database(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # a port that is not a number raises
    except ValueError:
        return False
    return len(parts.path) > 1


def _state_dir(value: Path) -> Path:
    if not str(value).isprintable():
        raise _expected("a path without control characters")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise _expected("1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first")
    return value


AETitle = Annotated[str, AfterValidator(_ae_title)]
Host = Annotated[str, AfterValidator(_host)]
SOPClassUID = Annotated[str, AfterValidator(_uid)]


class Section(BaseModel):
    """One table of the file: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)


class NodeSettings(Section):
    """Who this node is and where it keeps its state."""

    name: Annotated[str, AfterValidator(_name)] = Field(
        "gateway", description="Name of this node in logs, metrics and claims on work; unique among nodes."
    )
    state_dir: Annotated[Path, AfterValidator(_state_dir)] = Field(
        Path("./state"),
        description="Folder of database, spool and documents. In this file, relative to the file's folder.",
    )


class DatabaseSettings(Section):
    """Where the ledger is."""

    url: Annotated[str, AfterValidator(_database_url)] | None = Field(
        None,
        repr=False,
        description="Database URL, postgresql://user:password@host/database. Not set: SQLite, "
        "<state_dir>/gateway.db. A password belongs in the environment rather than in this file.",
    )
    busy_timeout_s: float = _number(
        5.0, 0.1, MINUTE_S, "Seconds a statement waits for another writer; below a sender's time-out."
    )


class SpoolSettings(Section):
    """Instances between arrival and delivery."""

    directory: Annotated[Path, AfterValidator(_state_dir)] | None = Field(
        None,
        description="Folder of the spool, on the fastest disk that keeps its word. Relative as state_dir is. "
        "Not set: <state_dir>/spool.",
    )
    io: Literal["direct", "cached"] = Field(
        "direct",
        description="How data get to the disk and back: around the kernel's page cache (O_DIRECT), where the file "
        "system allows it, or through it.",
    )
    sync: Literal["each", "none"] = Field(
        "each",
        description="When an instance is synced to the disk: each before its 0x0000, or none, for a test bed: "
        "then a power cut loses what was acknowledged.",
    )
    free_space_floor_bytes: int = _number(
        2 * GIB,
        16 * MIB,
        1024 * GIB,
        "Free space, in bytes, below which new instances (0xA700) and documents are refused.",
    )
    retention_s: float = _number(
        1.0 * HOUR_S, 0, 30 * DAY_S, "Seconds a data set is kept after its last delivery succeeded."
    )
    instance_limit_bytes: int = _number(
        8 * GIB, MIB, 64 * GIB, "Largest instance accepted, in bytes, so that one peer cannot fill the disk."
    )


class SCPSettings(Section):
    """The DICOM listener: what peers may ask of this node, and how much of it."""

    ae_title: AETitle = Field("GATEWAY", description="AE title peers call this node by.")
    host: Host = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for every IPv4 interface.")
    port: int = _number(11112, 0, 65535, "TCP port to listen on; 0 takes any free one.")
    maximum_length_bytes: int = _number(
        128 * KIB,
        4 * KIB,
        MIB,
        "Largest P-DATA-TF we advertise, in bytes (PS3.8 Annex D.1); smaller is slow, larger takes memory.",
    )
    associations: int = _number(64, 1, 4096, "Associations open at once; each holds a thread and its buffers.")
    associations_per_peer: int = _number(
        16, 1, 4096, "Associations open at once from one calling AE title, so that others find room."
    )
    half_open: int = _number(64, 1, 4096, "Connections at once that have not sent a whole A-ASSOCIATE-RQ yet.")
    half_open_per_address: int = _number(8, 1, 4096, "Such connections at once from one address.")
    associate_timeout_s: float = _number(
        10.0,
        0.1,
        5 * MINUTE_S,
        "Seconds a peer has for its whole A-ASSOCIATE-RQ (ARTIM timer, PS3.8 §9.1.5).",
    )
    idle_timeout_s: float = _number(60.0, 1, DAY_S, "Seconds an association may be silent before it is aborted.")
    minimum_rate_bytes_per_s: int = _number(
        16 * KIB, 0, GIB, "Slowest a peer may send within a message, bytes per second; 0 sets no limit."
    )
    minimum_rate_window_s: float = _number(60.0, 1, HOUR_S, "Seconds over which the slowest rate is measured.")
    drain_timeout_s: float = _number(
        30.0, 0, HOUR_S, "Seconds running instances have to finish when the node stops, before abort."
    )
    private_storage_sop_classes: tuple[SOPClassUID, ...] = Field(
        (), description="SOP Class UIDs accepted for storage beside the standard ones."
    )


class DeliverySettings(Section):
    """Outbound associations and retries."""

    associations: int = _number(4, 1, 64, "Associations open at once to one destination.")
    connect_timeout_s: float = _number(5.0, 0.1, 5 * MINUTE_S, "Seconds a destination has to accept the connection.")
    associate_timeout_s: float = _number(
        10.0, 0.1, 5 * MINUTE_S, "Seconds a destination has to answer the A-ASSOCIATE-RQ."
    )
    response_timeout_s: float = _number(
        60.0, 1, HOUR_S, "Seconds a destination has to answer a C-STORE after its last byte."
    )
    stall_timeout_s: float = _number(30.0, 1, HOUR_S, "Seconds a destination may take no byte at all while we send.")
    linger_s: float = _number(0.2, 0, MINUTE_S, "Seconds an outbound association may be idle before it is released.")
    attempts: int = _number(8, 1, 1000, "Attempts at one instance before it becomes a dead letter.")
    first_retry_s: float = _number(5.0, 0.1, HOUR_S, "Seconds before the second attempt; doubled for each further.")
    longest_retry_s: float = _number(15.0 * MINUTE_S, 0.1, DAY_S, "Longest wait between two attempts, in seconds.")
    calling_ae_title: AETitle | None = Field(
        None, description="AE title this node calls others by. Not set: scp.ae_title."
    )

    @model_validator(mode="after")
    def _retries_grow(self) -> Self:
        if self.first_retry_s > self.longest_retry_s:
            raise _contradiction(
                f"at least delivery.first_retry_s ({self.first_retry_s:g})",
                "delivery.longest_retry_s",
                "delivery.first_retry_s",
            )
        return self


class ConsentSettings(Section):
    """How fresh the state is on which a decision rests."""

    refresh_s: float = _number(
        0.2, 0.01, 0.25, "Seconds between looks at the consent epoch; few, as withdrawal acts in a second."
    )
    stale_after_s: float = _number(0.5, 0.02, 0.5, "Age, in seconds, of the last look beyond which nothing leaves.")

    @model_validator(mode="after")
    def _refreshed_before_stale(self) -> Self:
        if self.refresh_s >= self.stale_after_s:
            raise _contradiction(
                f"more than consent.refresh_s ({self.refresh_s:g})",
                "consent.stale_after_s",
                "consent.refresh_s",
            )
        return self


class DocumentSettings(Section):
    """Documents attached to studies."""

    limit_bytes: int = _number(50 * MIB, KIB, GIB, "Largest document accepted, in bytes.")


class WebSettings(Section):
    """REST interface and console."""

    enabled: bool = Field(True, strict=True, description="Whether to serve HTTP at all.")
    host: Host = Field("127.0.0.1", description="Address to listen on.")
    port: int = _number(8080, 0, 65535, "TCP port to listen on; 0 takes any free one.")


class LogSettings(Section):
    """What goes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity written.")
    format: Literal["json", "text"] = Field("json", description="One JSON object a line, or text for a terminal.")


class Settings(Section):
    """Everything a node is told at its start. Built by `gateway.config.load`, then only handed down."""

    node: NodeSettings = NodeSettings()
    database: DatabaseSettings = DatabaseSettings()
    spool: SpoolSettings = SpoolSettings()
    scp: SCPSettings = SCPSettings()
    delivery: DeliverySettings = DeliverySettings()
    consent: ConsentSettings = ConsentSettings()
    documents: DocumentSettings = DocumentSettings()
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()

    @property
    def database_url(self) -> str:
        """The URL to open: the one given, its driver named, or the SQLite file below `node.state_dir`."""
        if self.database.url is None:
            return f"sqlite:///{quote(str((self.node.state_dir / 'gateway.db').absolute()))}"
        scheme, _, rest = self.database.url.partition("://")
        return f"{POSTGRESQL if scheme == 'postgresql' else scheme}://{rest}"

    @property
    def spool_dir(self) -> Path:
        """Folder of the spool records."""
        return self.spool.directory or self.node.state_dir / "spool"

    @property
    def blob_dir(self) -> Path:
        """Folder of the documents, each named by its digest."""
        return self.node.state_dir / "blobs"

    @property
    def calling_ae_title(self) -> str:
        """The AE title this node calls others by."""
        return self.delivery.calling_ae_title or self.scp.ae_title

    @model_validator(mode="after")
    def _ports_apart(self) -> Self:
        same = self.scp.port == self.web.port != 0
        if self.web.enabled and same and _overlap(self.scp.host, self.web.host):
            raise _contradiction(f"a port other than scp.port ({self.scp.port})", "web.port", "scp.port")
        return self


def _overlap(one: str, other: str) -> bool:
    return one == other or _is_everywhere(one) or _is_everywhere(other)


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
