"""Bringing a database to the schema of this version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.orm import Session

from gateway.errors import StoreUnavailable
from gateway.store.database import Database

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(database: Database) -> None:
    """Bring the database to this version's schema, creating it when it is empty: wholly or not at all. May be repeated.

    Raises:
        StoreUnavailable: the schema is newer than this version, or the database does not answer.
    """
    with database.write() as session:
        config = _config()
        config.attributes["connection"] = session.connection()
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            current = _current_revision(session)
            raise StoreUnavailable(f"the database has schema {current}, which this version does not know") from error


def prepare(database: Database) -> None:
    """Create an empty database's schema; leave one of this version alone.

    Raises:
        StoreUnavailable: the schema is of another version; upgrading is for the operator to ask for.
    """
    with database.read() as session:
        current = _current_revision(session)
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if current is None:
        upgrade(database)
    elif current != head:
        raise StoreUnavailable(
            f"the database has schema {current}, this version needs {head}; run `gateway db upgrade` after a backup"
        )


def _current_revision(session: Session) -> str | None:
    return MigrationContext.configure(session.connection()).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
