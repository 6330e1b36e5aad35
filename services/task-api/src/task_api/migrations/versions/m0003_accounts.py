"""API keys, the audit log, and accounts that nobody gets into."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; nothing that is there changes."""
    op.execute("ALTER TABLE users ADD COLUMN disabled_at TIMESTAMP WITH TIME ZONE")
    op.execute(
        "CREATE INDEX ix_session_families_revoked_at ON session_families (revoked_at) WHERE revoked_at IS NOT NULL"
    )
    op.execute(
        """
        CREATE TABLE api_keys (
            id UUID NOT NULL,
            user_id UUID NOT NULL,
            name TEXT NOT NULL,
            scopes TEXT[] NOT NULL,
            hash BYTEA NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE NOT NULL,
            expires_at TIMESTAMP WITH TIME ZONE,
            last_used_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_api_keys PRIMARY KEY (id),
            CONSTRAINT fk_api_keys_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
            CONSTRAINT uq_api_keys_hash UNIQUE (hash)
        )
        """
    )
    op.execute("CREATE INDEX ix_api_keys_user_id ON api_keys (user_id)")
    op.execute(
        """
        CREATE TABLE audit_log (
            id UUID NOT NULL,
            at TIMESTAMP WITH TIME ZONE NOT NULL,
            action TEXT NOT NULL,
            succeeded BOOLEAN NOT NULL,
            user_id UUID,
            address TEXT,
            request_id TEXT,
            detail JSONB DEFAULT '{}' NOT NULL,
            CONSTRAINT pk_audit_log PRIMARY KEY (id)
        )
        """
    )
    op.execute("CREATE INDEX ix_audit_log_at_id ON audit_log (at, id)")
    op.execute("CREATE INDEX ix_audit_log_user_id_at ON audit_log (user_id, at)")


def downgrade() -> None:
    """Remove them."""
    op.execute("DROP TABLE audit_log")
    op.execute("DROP TABLE api_keys")
    op.execute("DROP INDEX ix_session_families_revoked_at")
    op.execute("ALTER TABLE users DROP COLUMN disabled_at")
