"""Who asked to be erased."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and what the work is found by."""
    op.execute("ALTER TABLE users ADD COLUMN erase_requested_at TIMESTAMP WITH TIME ZONE")
    op.execute(
        "CREATE INDEX ix_users_to_erase ON users (erase_requested_at) WHERE erase_requested_at IS NOT NULL"
    )


def downgrade() -> None:
    """Remove them; who waits to be erased stays shut."""
    op.execute("DROP INDEX ix_users_to_erase")
    op.execute("ALTER TABLE users DROP COLUMN erase_requested_at")
