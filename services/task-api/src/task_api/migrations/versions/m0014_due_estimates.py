"""How many tasks are due in a range: what the planner must know to read no more than a page of a list."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let it be counted, and count; writes pay nothing."""
    op.execute(
        "CREATE STATISTICS st_tasks_due ON COALESCE(due_instant, 'infinity'::timestamp with time zone) FROM tasks"
    )
    op.execute("ANALYZE tasks")


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP STATISTICS st_tasks_due")
