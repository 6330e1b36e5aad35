"""All tasks of a series by its id: for the foreign key, which asks for withdrawn ones too, and for its open ones."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index, unless it was made by hand; what is left of an attempt to is made anew."""
    op.execute(
        """
        DO $$ BEGIN
            IF EXISTS (
                SELECT FROM pg_index WHERE indexrelid = to_regclass('ix_tasks_series_id') AND NOT indisvalid
            ) THEN
                DROP INDEX ix_tasks_series_id;
            END IF;
        END $$
        """
    )
    op.execute(
        "CREATE INDEX IF NOT EXISTS ix_tasks_series_id ON tasks (series_id) WHERE series_id IS NOT NULL"
    )


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP INDEX ix_tasks_series_id")
