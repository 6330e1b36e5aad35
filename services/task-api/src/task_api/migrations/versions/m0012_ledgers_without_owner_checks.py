"""The ledgers of a task belong to it alone: whose they are is checked where the task is."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_LEDGERS = ("task_reminders", "task_history", "task_activity")


def upgrade() -> None:
    """Drop what no index served: a row goes with its task, and an account that goes would read all of them."""
    for table in _LEDGERS:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT fk_{table}_user_id_users")


def downgrade() -> None:
    """Check the owner again; there is none that is missing, for every task has its own."""
    for table in _LEDGERS:
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT fk_{table}_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)"
        )
