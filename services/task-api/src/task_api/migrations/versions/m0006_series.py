"""When a deleted task was purged: an instance of a series leaves its emptied row."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and what the purge finds its rows by."""
    op.execute("ALTER TABLE tasks ADD COLUMN purged_at TIMESTAMP WITH TIME ZONE")
    op.execute(
        "CREATE INDEX ix_tasks_to_purge ON tasks (deleted_at) WHERE deleted_at IS NOT NULL AND purged_at IS NULL"
    )


def downgrade() -> None:
    """Remove them; emptied rows stay empty."""
    op.execute("DROP INDEX ix_tasks_to_purge")
    op.execute("ALTER TABLE tasks DROP COLUMN purged_at")
