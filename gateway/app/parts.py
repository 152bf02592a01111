"""Parts of a node that commands use by themselves, beside a running one or without."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from gateway.config import Settings
from gateway.documents.attach import Documents
from gateway.documents.blobs import BlobStore
from gateway.errors import StoreUnavailable
from gateway.metrics import Metrics
from gateway.net.dial import DialSettings
from gateway.planning import Planner
from gateway.store.authority import StoredAuthority
from gateway.store.database import Database
from gateway.store.migrate import prepare
from gateway.store.writer import Writer


def utc_now() -> datetime:
    """The clock of the product."""
    return datetime.now(UTC)


def open_database(settings: Settings) -> Database:
    """The node's database, created when there is none yet.

    Raises:
        StoreUnavailable: it cannot be opened, or has the schema of another version.
    """
    database = database_of(settings)
    try:
        prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def database_of(settings: Settings) -> Database:
    """The node's database, whatever its schema; nothing is asked of it yet.

    Raises:
        StoreUnavailable: the folder of the node's state cannot be used, or the database's driver is not installed.
    """
    try:
        settings.node.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"{settings.node.state_dir} (node.state_dir) cannot be used: {error.strerror}; expected a writable folder"
        ) from error
    try:
        return Database(settings.database_url, settings.database.busy_timeout_s)
    except ImportError as error:
        raise StoreUnavailable(
            f"the driver of this database cannot be loaded ({error.name or 'libpq'}); "
            "install the package's extra `postgresql`"
        ) from error


def dial_settings(settings: Settings) -> DialSettings:
    """How this node calls its peers."""
    return DialSettings(
        calling_ae_title=settings.calling_ae_title,
        connect_timeout_s=settings.delivery.connect_timeout_s,
        associate_timeout_s=settings.delivery.associate_timeout_s,
        response_timeout_s=settings.delivery.response_timeout_s,
    )


@contextmanager
def open_documents(settings: Settings, clock: Callable[[], datetime] = utc_now) -> Iterator[Documents]:
    """The documents of a node, for a command beside it; works whether the node runs or not.

    Raises:
        StoreError: the database cannot be used.
    """
    database = open_database(settings)
    writer = Writer(database)
    authority = StoredAuthority(database, settings.consent.refresh_s, settings.consent.stale_after_s)
    try:
        writer.start()
        authority.start()
        yield documents_of(settings, database, writer, Planner(authority, clock), Metrics(), clock)
    finally:
        authority.stop()
        writer.stop()
        database.close()


def documents_of(  # noqa: PLR0917  # the parts of a node, in the order in which they are made
    settings: Settings,
    database: Database,
    writer: Writer,
    planner: Planner,
    metrics: Metrics,
    clock: Callable[[], datetime],
) -> Documents:
    """The use cases of documents over these parts."""
    return Documents(
        database=database,
        writer=writer,
        planner=planner,
        blobs=BlobStore(settings.blob_dir, settings.spool.free_space_floor_bytes),
        clock=clock,
        limit_bytes=settings.documents.limit_bytes,
        metrics=metrics,
    )
