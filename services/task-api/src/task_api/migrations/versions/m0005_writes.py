"""Changes that can be taken back, and idempotency keys."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rows of before have no change id: their undo tokens, had there been any, would have expired."""
    op.execute("ALTER TABLE task_history ADD COLUMN change_id UUID")
    op.execute("CREATE INDEX ix_task_history_change_id ON task_history (change_id)")
    op.execute(
        """
        CREATE TABLE idempotency_keys (
            user_id UUID NOT NULL,
            key TEXT NOT NULL,
            fingerprint BYTEA NOT NULL,
            status INTEGER,
            headers JSONB,
            body BYTEA,
            created_at TIMESTAMP WITH TIME ZONE NOT NULL,
            CONSTRAINT pk_idempotency_keys PRIMARY KEY (user_id, key),
            CONSTRAINT fk_idempotency_keys_user_id_users FOREIGN KEY(user_id)
                REFERENCES users (id) ON DELETE CASCADE
        )
        """
    )
    op.execute("CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at)")


def downgrade() -> None:
    """Remove them."""
    op.execute("DROP TABLE idempotency_keys")
    op.execute("ALTER TABLE task_history DROP COLUMN change_id")
