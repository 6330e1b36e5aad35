"""What a person has read: said once, kept here, for what a person said belongs to PostgreSQL."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.execute(
        """
        CREATE TABLE notification_reads (
            user_id UUID NOT NULL,
            notification_id UUID NOT NULL,
            read_at TIMESTAMP WITH TIME ZONE NOT NULL,
            CONSTRAINT pk_notification_reads PRIMARY KEY (user_id, notification_id),
            CONSTRAINT fk_notification_reads_user_id_users FOREIGN KEY(user_id)
                REFERENCES users (id) ON DELETE CASCADE
        )
        """
    )


def downgrade() -> None:
    """Remove it."""
    op.execute("DROP TABLE notification_reads")
