"""How far a job ever came, and in which attempt."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("furthest", sa.Float(), nullable=False, server_default="0"))
        job.add_column(sa.Column("furthest_attempt", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("job") as job:
        job.drop_column("furthest_attempt")
        job.drop_column("furthest")
