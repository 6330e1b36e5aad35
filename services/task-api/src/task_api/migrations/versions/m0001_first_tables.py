"""The first tables: accounts, sessions, series, tasks with what hangs on them, the outbox and the epoch."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    "epoch",
    "outbox",
    "users",
    "series",
    "session_families",
    "refresh_tokens",
    "tasks",
    "task_activity",
    "task_history",
    "task_reminders",
)

_STATEMENTS = (
    """
    CREATE TABLE epoch (
        singleton BOOLEAN DEFAULT true NOT NULL,
        value INTEGER DEFAULT '1' NOT NULL,
        raised_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        CONSTRAINT pk_epoch PRIMARY KEY (singleton),
        CONSTRAINT ck_epoch_singleton CHECK (singleton),
        CONSTRAINT ck_epoch_value CHECK (value >= 1)
    )
    """,
    """
    CREATE TABLE outbox (
        id UUID NOT NULL,
        topic TEXT NOT NULL,
        key TEXT NOT NULL,
        event BYTEA NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        attempts INTEGER DEFAULT '0' NOT NULL,
        last_error TEXT,
        next_attempt_at TIMESTAMP WITH TIME ZONE,
        parked_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_outbox PRIMARY KEY (id)
    )
    """,
    """
    CREATE INDEX ix_outbox_fresh
        ON outbox (topic, created_at, id)
        WHERE parked_at IS NULL AND next_attempt_at IS NULL
    """,
    """
    CREATE INDEX ix_outbox_waiting
        ON outbox (topic, next_attempt_at, id)
        WHERE parked_at IS NULL AND next_attempt_at IS NOT NULL
    """,
    """
    CREATE TABLE users (
        id UUID NOT NULL,
        email TEXT NOT NULL,
        email_key TEXT NOT NULL,
        password_hash TEXT NOT NULL,
        first_name TEXT,
        last_name TEXT,
        timezone TEXT DEFAULT 'UTC' NOT NULL,
        day_start TIME WITHOUT TIME ZONE DEFAULT '09:00' NOT NULL,
        locale TEXT DEFAULT 'en' NOT NULL,
        default_reminder INTERVAL,
        role TEXT DEFAULT 'user' NOT NULL,
        last_task_number INTEGER DEFAULT '0' NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        CONSTRAINT pk_users PRIMARY KEY (id),
        CONSTRAINT ck_users_email_key_lower CHECK (email_key = lower(email_key)),
        CONSTRAINT ck_users_role CHECK (role IN ('user', 'admin')),
        CONSTRAINT uq_users_email_key UNIQUE (email_key)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE series (
        id UUID NOT NULL,
        user_id UUID NOT NULL,
        version INTEGER DEFAULT '1' NOT NULL,
        rrule TEXT NOT NULL,
        anchor TEXT DEFAULT 'schedule' NOT NULL,
        month_end TEXT DEFAULT 'clamp' NOT NULL,
        overdue TEXT DEFAULT 'next_future' NOT NULL,
        dst_gap TEXT DEFAULT 'forward' NOT NULL,
        pile_up TEXT DEFAULT 'wait' NOT NULL,
        timezone TEXT NOT NULL,
        start_local TEXT NOT NULL,
        exdates TEXT[] DEFAULT '{}' NOT NULL,
        paused_at TIMESTAMP WITH TIME ZONE,
        resumed_at TIMESTAMP WITH TIME ZONE,
        ended_at TIMESTAMP WITH TIME ZONE,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_series PRIMARY KEY (id),
        CONSTRAINT ck_series_version CHECK (version >= 1),
        CONSTRAINT ck_series_anchor CHECK (anchor IN ('schedule', 'completion')),
        CONSTRAINT ck_series_month_end CHECK (month_end IN ('skip', 'clamp')),
        CONSTRAINT ck_series_overdue CHECK (overdue IN ('next_future', 'catch_up')),
        CONSTRAINT ck_series_dst_gap CHECK (dst_gap IN ('forward', 'skip')),
        CONSTRAINT ck_series_pile_up CHECK (pile_up IN ('wait', 'allow')),
        CONSTRAINT fk_series_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
    )
    """,
    """
    CREATE INDEX ix_series_user_id ON series (user_id)
    """,
    """
    CREATE TABLE session_families (
        id UUID NOT NULL,
        user_id UUID NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        revoked_at TIMESTAMP WITH TIME ZONE,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_session_families PRIMARY KEY (id),
        CONSTRAINT fk_session_families_user_id_users FOREIGN KEY(user_id)
            REFERENCES users (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX ix_session_families_user_id ON session_families (user_id)
    """,
    """
    CREATE TABLE refresh_tokens (
        hash BYTEA NOT NULL,
        family_id UUID NOT NULL,
        issued_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
        used_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_refresh_tokens PRIMARY KEY (hash),
        CONSTRAINT fk_refresh_tokens_family_id_session_families FOREIGN KEY(family_id)
            REFERENCES session_families (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX ix_refresh_tokens_family_id ON refresh_tokens (family_id)
    """,
    """
    CREATE TABLE tasks (
        id UUID NOT NULL,
        user_id UUID NOT NULL,
        number INTEGER NOT NULL,
        title TEXT NOT NULL,
        description TEXT,
        status TEXT DEFAULT 'pending' NOT NULL,
        priority TEXT DEFAULT 'medium' NOT NULL,
        tags TEXT[] DEFAULT '{}' NOT NULL,
        due_at TIMESTAMP WITH TIME ZONE,
        due_date DATE,
        timezone TEXT NOT NULL,
        closed_by TEXT,
        closed_version INTEGER,
        closed_at TIMESTAMP WITH TIME ZONE,
        completed_at TIMESTAMP WITH TIME ZONE,
        metadata JSONB DEFAULT '{}' NOT NULL,
        series_id UUID,
        occurrence_key TEXT,
        predecessor_task_id UUID,
        version INTEGER DEFAULT '1' NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        deleted_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_tasks PRIMARY KEY (id),
        CONSTRAINT uq_tasks_user_id_number UNIQUE (user_id, number),
        CONSTRAINT ck_tasks_number CHECK (number >= 1),
        CONSTRAINT ck_tasks_version CHECK (version >= 1),
        CONSTRAINT ck_tasks_title_length CHECK (char_length(title) BETWEEN 1 AND 255),
        CONSTRAINT ck_tasks_description_length CHECK (char_length(description) <= 5000),
        CONSTRAINT ck_tasks_tags_count CHECK (cardinality(tags) <= 20),
        CONSTRAINT ck_tasks_status
            CHECK (status IN ('pending', 'in_progress', 'completed', 'archived')),
        CONSTRAINT ck_tasks_priority CHECK (priority IN ('low', 'medium', 'high', 'urgent')),
        CONSTRAINT ck_tasks_closed_by
            CHECK (closed_by IN ('completed', 'skipped', 'withdrawn', 'erased')),
        CONSTRAINT ck_tasks_one_due CHECK (due_at IS NULL OR due_date IS NULL),
        CONSTRAINT ck_tasks_completed_at CHECK ((status = 'completed') = (completed_at IS NOT NULL)),
        CONSTRAINT ck_tasks_closed
            CHECK ((closed_by IS NULL) = (status IN ('pending', 'in_progress') AND deleted_at IS NULL)),
        CONSTRAINT ck_tasks_closed_together
            CHECK ((closed_by IS NULL) = (closed_version IS NULL) AND (closed_by IS NULL) = (closed_at IS NULL)),
        CONSTRAINT ck_tasks_occurrence_key CHECK ((series_id IS NULL) = (occurrence_key IS NULL)),
        CONSTRAINT fk_tasks_user_id_users FOREIGN KEY(user_id) REFERENCES users (id),
        CONSTRAINT fk_tasks_series_id_series FOREIGN KEY(series_id) REFERENCES series (id)
    ) WITH (fillfactor = 85)
    """,
    """
    CREATE INDEX ix_tasks_created ON tasks (user_id, created_at DESC, id DESC) WHERE deleted_at IS NULL
    """,
    """
    CREATE INDEX ix_tasks_due_at
        ON tasks (user_id, due_at)
        WHERE deleted_at IS NULL AND due_at IS NOT NULL
    """,
    """
    CREATE INDEX ix_tasks_due_date
        ON tasks (user_id, due_date)
        WHERE deleted_at IS NULL AND due_date IS NOT NULL
    """,
    """
    CREATE INDEX ix_tasks_open ON tasks (id) WHERE closed_by IS NULL
    """,
    """
    CREATE INDEX ix_tasks_predecessor_task_id
        ON tasks (predecessor_task_id)
        WHERE predecessor_task_id IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX uq_tasks_series_id_occurrence_key
        ON tasks (series_id, occurrence_key)
        WHERE closed_by IS DISTINCT FROM 'withdrawn' AND series_id IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX uq_tasks_series_id_predecessor_task_id
        ON tasks (series_id, predecessor_task_id)
        WHERE closed_by IS DISTINCT FROM 'withdrawn' AND series_id IS NOT NULL
    """,
    """
    CREATE TABLE task_activity (
        id UUID NOT NULL,
        task_id UUID NOT NULL,
        user_id UUID NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        kind TEXT NOT NULL,
        detail JSONB DEFAULT '{}' NOT NULL,
        CONSTRAINT pk_task_activity PRIMARY KEY (id),
        CONSTRAINT fk_task_activity_task_id_tasks FOREIGN KEY(task_id)
            REFERENCES tasks (id) ON DELETE CASCADE,
        CONSTRAINT fk_task_activity_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
    )
    """,
    """
    CREATE INDEX ix_task_activity_task_id_at_id ON task_activity (task_id, at, id)
    """,
    """
    CREATE TABLE task_history (
        id UUID NOT NULL,
        task_id UUID NOT NULL,
        user_id UUID NOT NULL,
        version INTEGER NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        actor JSONB NOT NULL,
        changes JSONB NOT NULL,
        CONSTRAINT pk_task_history PRIMARY KEY (id),
        CONSTRAINT uq_task_history_task_id_version UNIQUE (task_id, version),
        CONSTRAINT fk_task_history_task_id_tasks FOREIGN KEY(task_id)
            REFERENCES tasks (id) ON DELETE CASCADE,
        CONSTRAINT fk_task_history_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
    )
    """,
    """
    CREATE TABLE task_reminders (
        id UUID NOT NULL,
        task_id UUID NOT NULL,
        user_id UUID NOT NULL,
        position INTEGER NOT NULL,
        "offset" INTERVAL,
        at TIMESTAMP WITH TIME ZONE,
        channels TEXT[] DEFAULT '{}' NOT NULL,
        set_at TIMESTAMP WITH TIME ZONE NOT NULL,
        snoozed_until TIMESTAMP WITH TIME ZONE,
        acknowledged_at TIMESTAMP WITH TIME ZONE,
        fired_for TIMESTAMP WITH TIME ZONE,
        scheduled_for TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_task_reminders PRIMARY KEY (id),
        CONSTRAINT ck_task_reminders_offset_or_at CHECK (("offset" IS NULL) <> (at IS NULL)),
        CONSTRAINT fk_task_reminders_task_id_tasks FOREIGN KEY(task_id)
            REFERENCES tasks (id) ON DELETE CASCADE,
        CONSTRAINT fk_task_reminders_user_id_users FOREIGN KEY(user_id) REFERENCES users (id)
    )
    """,
    """
    CREATE INDEX ix_task_reminders_task_id ON task_reminders (task_id)
    """,
    "INSERT INTO epoch (value) VALUES (1)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.execute(f"DROP TABLE {table}")
