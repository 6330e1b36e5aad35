"""The occurrences that were made, by when: for an inbox that is built again."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.execute(
        "CREATE INDEX ix_task_activity_generated ON task_activity (at, id) WHERE kind = 'occurrence_generated'"
    )


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP INDEX ix_task_activity_generated")
