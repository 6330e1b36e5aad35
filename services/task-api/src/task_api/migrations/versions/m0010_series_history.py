"""What changed of a series, and with which change: what can be taken back."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; what was changed before it has no row."""
    op.execute(
        """
        CREATE TABLE series_history (
            series_id UUID NOT NULL,
            version INTEGER NOT NULL,
            at TIMESTAMP WITH TIME ZONE NOT NULL,
            actor JSONB NOT NULL,
            changes JSONB NOT NULL,
            change_id UUID NOT NULL,
            CONSTRAINT pk_series_history PRIMARY KEY (series_id, version),
            CONSTRAINT fk_series_history_series_id_series
                FOREIGN KEY(series_id) REFERENCES series (id) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX ix_series_history_change_id ON series_history (change_id)")


def downgrade() -> None:
    """Remove it: changes of series cannot be taken back any more."""
    op.execute("DROP TABLE series_history")
