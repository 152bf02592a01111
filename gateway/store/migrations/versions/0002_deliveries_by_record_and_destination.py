"""Deliveries are known by record and destination, and have one index instead of four."""

import sqlalchemy as sa
from alembic import op

import gateway.store.tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COLUMNS = (
    "record_id, destination_ae_title, decision_id, state, attempts, due_at, finished_at, status, detail, sent_sha256"
)


def upgrade() -> None:
    _rename_old()
    _create(
        sa.PrimaryKeyConstraint("record_id", "destination_ae_title", name=op.f("pk_delivery")),
    )
    _copy_and_drop_old()


def downgrade() -> None:
    _rename_old()
    _create(
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "record_id", "destination_ae_title", name=op.f("uq_delivery_record_id_destination_ae_title")
        ),
    )
    _copy_and_drop_old()
    op.create_index(op.f("ix_delivery_record_id"), "delivery", ["record_id"], unique=False)
    op.create_index(op.f("ix_delivery_state"), "delivery", ["state"], unique=False)


def _rename_old() -> None:
    """The old table, out of the way with everything whose name the new one needs."""
    inspector = sa.inspect(op.get_bind())
    for index in inspector.get_indexes("delivery"):
        if not index.get("duplicates_constraint"):
            op.drop_index(str(index["name"]), table_name="delivery")
    op.rename_table("delivery", "delivery_old")
    if op.get_bind().dialect.name == "postgresql":
        constraints = [
            inspector.get_pk_constraint("delivery")["name"],
            *(unique["name"] for unique in inspector.get_unique_constraints("delivery")),
            *(key["name"] for key in inspector.get_foreign_keys("delivery")),
        ]
        for name in constraints:
            op.execute(f'ALTER TABLE delivery_old RENAME CONSTRAINT "{name}" TO "{name}_old"')


def _create(*own: sa.schema.SchemaItem) -> None:
    op.create_table(
        "delivery",
        sa.Column("record_id", sa.String(length=32), nullable=False),
        sa.Column("destination_ae_title", sa.String(length=16), nullable=False),
        sa.Column("decision_id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", gateway.store.tables.UtcDateTime(), nullable=False),
        sa.Column("finished_at", gateway.store.tables.UtcDateTime(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("sent_sha256", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["decision_id"], ["decision.id"], name=op.f("fk_delivery_decision_id")),
        sa.ForeignKeyConstraint(["record_id"], ["instance.record_id"], name=op.f("fk_delivery_record_id")),
        *own,
    )


def _copy_and_drop_old() -> None:
    op.execute(
        f"INSERT INTO delivery ({_COLUMNS}) SELECT {_COLUMNS} FROM delivery_old ORDER BY due_at"  # noqa: S608  # our own names
    )
    op.drop_table("delivery_old")
    op.create_index(
        op.f("ix_delivery_destination_ae_title_state_due_at"),
        "delivery",
        ["destination_ae_title", "state", "due_at"],
        unique=False,
    )
