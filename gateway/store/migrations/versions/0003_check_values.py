"""Instances have a check value beside their digest; those of before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instance", sa.Column("xxh3_128", sa.String(length=32), nullable=True))


def downgrade() -> None:
    op.drop_column("instance", "xxh3_128")  # in place: deliveries refer to the table
