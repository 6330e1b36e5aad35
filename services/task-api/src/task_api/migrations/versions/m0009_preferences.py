"""How people want to be told, the emergency stop, sessions that outlive their account.

And what siblings page through after they lost something.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_LOCK_DOWN = """
    CREATE FUNCTION lock_down(why text) RETURNS TABLE (sessions bigint, keys bigint) LANGUAGE plpgsql AS $$
        DECLARE moment timestamptz := clock_timestamp();
        BEGIN
            LOCK TABLE session_families, api_keys, calendar_tokens IN SHARE ROW EXCLUSIVE MODE;
            UPDATE lockdown SET number = number + 1, since = coalesce(since, moment), reason = why;
            UPDATE session_families SET revoked_at = moment WHERE revoked_at IS NULL;
            GET DIAGNOSTICS sessions = ROW_COUNT;
            DELETE FROM api_keys;
            GET DIAGNOSTICS keys = ROW_COUNT;
            DELETE FROM calendar_tokens;
            INSERT INTO audit_log (id, at, action, succeeded, detail) VALUES (
                gen_random_uuid(), moment, 'lockdown', true,
                jsonb_build_object('reason', why, 'sessions', sessions, 'api_keys', keys)
            );
            RETURN NEXT;
        END $$
"""
_LIFT_LOCKDOWN = """
    CREATE FUNCTION lift_lockdown() RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT EXISTS (SELECT FROM lockdown WHERE since IS NOT NULL FOR UPDATE) THEN
                RETURN false;
            END IF;
            PERFORM lock_down('what came in while the replicas were learning of it');
            UPDATE lockdown SET number = number + 1, since = NULL, reason = NULL;
            INSERT INTO audit_log (id, at, action, succeeded) VALUES (
                gen_random_uuid(), clock_timestamp(), 'lockdown_lifted', true
            );
            RETURN true;
        END $$
"""


def upgrade() -> None:
    """Make the tables, the functions of the emergency stop, and two indexes that cost writers next to nothing."""
    op.execute(
        """
        CREATE TABLE notification_preferences (
            user_id UUID NOT NULL,
            version INTEGER NOT NULL,
            email BOOLEAN NOT NULL,
            quiet_from TIME WITHOUT TIME ZONE,
            quiet_until TIME WITHOUT TIME ZONE,
            late_policy TEXT NOT NULL,
            drop_after INTERVAL,
            generated BOOLEAN NOT NULL,
            updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
            CONSTRAINT pk_notification_preferences PRIMARY KEY (user_id),
            CONSTRAINT fk_notification_preferences_user_id_users
                FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
            CONSTRAINT ck_notification_preferences_quiet_hours
                CHECK ((quiet_from IS NULL) = (quiet_until IS NULL)),
            CONSTRAINT ck_notification_preferences_late_policy
                CHECK (late_policy IN ('send', 'digest', 'drop_after')),
            CONSTRAINT ck_notification_preferences_drop_after
                CHECK ((late_policy = 'drop_after') = (drop_after IS NOT NULL))
        )
        """
    )
    op.execute(
        """
        CREATE TABLE notification_channels (
            id UUID NOT NULL,
            user_id UUID NOT NULL,
            kind TEXT NOT NULL,
            position INTEGER NOT NULL,
            name TEXT NOT NULL,
            enabled BOOLEAN NOT NULL,
            sealed BYTEA NOT NULL,
            CONSTRAINT pk_notification_channels PRIMARY KEY (id),
            CONSTRAINT fk_notification_channels_user_id_users
                FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
            CONSTRAINT ck_notification_channels_kind CHECK (kind IN ('webhook', 'chat', 'push'))
        )
        """
    )
    op.execute("CREATE INDEX ix_notification_channels_user_id ON notification_channels (user_id)")
    op.execute(
        """
        CREATE TABLE lockdown (
            singleton BOOLEAN DEFAULT true NOT NULL,
            number INTEGER DEFAULT 0 NOT NULL,
            since TIMESTAMP WITH TIME ZONE,
            reason TEXT,
            CONSTRAINT pk_lockdown PRIMARY KEY (singleton),
            CONSTRAINT ck_lockdown_singleton CHECK (singleton)
        )
        """
    )
    _refer_to_users("SET NULL")
    op.execute("ALTER TABLE session_families ALTER COLUMN user_id DROP NOT NULL")
    op.execute("INSERT INTO lockdown DEFAULT VALUES")
    op.execute(_LOCK_DOWN)
    op.execute(_LIFT_LOCKDOWN)
    op.execute("CREATE INDEX ix_task_history_at ON task_history USING brin (at)")
    op.execute("CREATE INDEX ix_task_activity_fired ON task_activity (at, id) WHERE kind = 'reminder_fired'")


def downgrade() -> None:
    """Remove them; a stop that holds is lifted by it."""
    op.execute("DROP INDEX ix_task_activity_fired")
    op.execute("DROP INDEX ix_task_history_at")
    op.execute("DELETE FROM session_families WHERE user_id IS NULL")
    op.execute("ALTER TABLE session_families ALTER COLUMN user_id SET NOT NULL")
    _refer_to_users("CASCADE")
    op.execute("DROP FUNCTION lift_lockdown()")
    op.execute("DROP FUNCTION lock_down(text)")
    op.execute("DROP TABLE lockdown")
    op.execute("DROP TABLE notification_channels")
    op.execute("DROP TABLE notification_preferences")


def _refer_to_users(then: str) -> None:
    name = "fk_session_families_user_id_users"
    op.execute(f"ALTER TABLE session_families DROP CONSTRAINT {name}")
    op.execute(
        f"ALTER TABLE session_families ADD CONSTRAINT {name} "
        f"FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE {then} NOT VALID"
    )
    op.execute(f"ALTER TABLE session_families VALIDATE CONSTRAINT {name}")
