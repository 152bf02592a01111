"""Deliveries are known by record and destination, and have one index instead of four."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_RECORD_AND_DESTINATION = ["record_id", "destination_ae_title"]


def upgrade() -> None:
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_delivery_record_id"))
        batch_op.drop_index(batch_op.f("ix_delivery_state"))
        batch_op.drop_constraint(batch_op.f("uq_delivery_record_id_destination_ae_title"), type_="unique")
        batch_op.drop_constraint(batch_op.f("pk_delivery"), type_="primary")
        batch_op.drop_column("id")
        batch_op.create_primary_key(batch_op.f("pk_delivery"), _RECORD_AND_DESTINATION)


def downgrade() -> None:
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("pk_delivery"), type_="primary")
        batch_op.add_column(sa.Column("id", sa.Integer(), autoincrement=True, primary_key=True, nullable=False))
        batch_op.create_primary_key(batch_op.f("pk_delivery"), ["id"])
        batch_op.create_unique_constraint(
            batch_op.f("uq_delivery_record_id_destination_ae_title"), _RECORD_AND_DESTINATION
        )
        batch_op.create_index(batch_op.f("ix_delivery_record_id"), ["record_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_delivery_state"), ["state"], unique=False)
