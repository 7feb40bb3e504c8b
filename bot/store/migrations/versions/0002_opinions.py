"""What people say of their headshots."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "opinion",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("person_id", sa.String(), nullable=False),
        sa.Column("adapter_id", sa.String(), nullable=False),
        sa.Column("liked", sa.Boolean(), nullable=False),
        sa.Column("facts_blob", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_opinion_person_id", "opinion", ["person_id"], unique=False)
    op.create_index("ix_opinion_adapter_id", "opinion", ["adapter_id"], unique=False)
    with op.batch_alter_table("headshot") as headshot:
        headshot.add_column(sa.Column("facts_blob", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("headshot") as headshot:
        headshot.drop_column("facts_blob")
    op.drop_table("opinion")
