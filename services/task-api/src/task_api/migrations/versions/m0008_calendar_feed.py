"""The secrets that open calendar feeds."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """
        CREATE TABLE calendar_tokens (
            user_id UUID NOT NULL,
            hash BYTEA NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE NOT NULL,
            CONSTRAINT pk_calendar_tokens PRIMARY KEY (user_id),
            CONSTRAINT uq_calendar_tokens_hash UNIQUE (hash),
            CONSTRAINT fk_calendar_tokens_user_id_users FOREIGN KEY(user_id)
                REFERENCES users (id) ON DELETE CASCADE
        )
        """
    )


def downgrade() -> None:
    """Remove it: who subscribed makes a new secret."""
    op.execute("DROP TABLE calendar_tokens")
