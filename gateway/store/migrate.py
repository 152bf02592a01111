"""Bringing a database to the schema of this version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.errors import StoreUnavailable
from gateway.store.database import Database

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(database: Database) -> None:
    """Bring the database to this version's schema, creating it when it is empty. May be repeated."""
    with database.engine.connect() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def prepare(database: Database) -> None:
    """Create an empty database's schema; leave one of this version alone.

    Raises:
        StoreUnavailable: the schema is of another version; upgrading is for the operator to ask for.
    """
    with database.read() as session:
        current = MigrationContext.configure(session.connection()).get_current_revision()
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if current is None:
        upgrade(database)
    elif current != head:
        raise StoreUnavailable(
            f"the database has schema {current}, this version needs {head}; run `gateway db upgrade` after a backup"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config
