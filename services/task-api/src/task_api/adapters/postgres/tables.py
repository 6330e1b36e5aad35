"""The tables as SQLAlchemy Core sees them. The migrations make them; a test holds the two equal.

Instants are timestamptz; local moments (`start_local`, `occurrence_key`, `exdates`) are text in the form of
event_contracts.values.LocalMoment; `offset` is an interval. Text ids never occur: keys are UUIDv7, or the id of the
event that caused the row.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_INSTANT = DateTime(timezone=True)
_NOW = text("clock_timestamp()")


def _one_of(column: str, *words: str) -> str:
    return f"{column} IN ({', '.join(repr(word) for word in words)})"


users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("first_name", Text),
    Column("last_name", Text),
    Column("timezone", Text, nullable=False, server_default="UTC"),
    Column("day_start", Time, nullable=False, server_default="09:00"),
    Column("locale", Text, nullable=False, server_default="en"),
    Column("default_reminder", Interval),
    Column("role", Text, nullable=False, server_default="user"),
    Column("last_task_number", Integer, nullable=False, server_default="0"),
    Column("created_at", _INSTANT, nullable=False, server_default=_NOW),
    Column("updated_at", _INSTANT, nullable=False, server_default=_NOW),
    CheckConstraint("email_key = lower(email_key)", name="email_key_lower"),
    CheckConstraint(_one_of("role", "user", "admin"), name="role"),
    # Every create rewrites the row; room on its page keeps that update off the indexes.
    postgresql_with={"fillfactor": "50"},
)

session_families = Table(
    "session_families",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", _INSTANT, nullable=False),
    Column("revoked_at", _INSTANT),
    Column("expires_at", _INSTANT, nullable=False),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column(
        "family_id",
        Uuid,
        ForeignKey("session_families.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("issued_at", _INSTANT, nullable=False),
    Column("expires_at", _INSTANT, nullable=False),
    Column("used_at", _INSTANT),
)

series = Table(
    "series",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("rrule", Text, nullable=False),
    Column("anchor", Text, nullable=False, server_default="schedule"),
    Column("month_end", Text, nullable=False, server_default="clamp"),
    Column("overdue", Text, nullable=False, server_default="next_future"),
    Column("dst_gap", Text, nullable=False, server_default="forward"),
    Column("pile_up", Text, nullable=False, server_default="wait"),
    Column("timezone", Text, nullable=False),
    Column("start_local", Text, nullable=False),
    Column("exdates", ARRAY(Text), nullable=False, server_default="{}"),
    Column("paused_at", _INSTANT),
    Column("resumed_at", _INSTANT),
    Column("ended_at", _INSTANT),
    Column("created_at", _INSTANT, nullable=False),
    Column("updated_at", _INSTANT, nullable=False),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint(_one_of("anchor", "schedule", "completion"), name="anchor"),
    CheckConstraint(_one_of("month_end", "skip", "clamp"), name="month_end"),
    CheckConstraint(_one_of("overdue", "next_future", "catch_up"), name="overdue"),
    CheckConstraint(_one_of("dst_gap", "forward", "skip"), name="dst_gap"),
    CheckConstraint(_one_of("pile_up", "wait", "allow"), name="pile_up"),
    Index("ix_series_user_id", "user_id"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("priority", Text, nullable=False, server_default="medium"),
    Column("tags", ARRAY(Text), nullable=False, server_default="{}"),
    Column("due_at", _INSTANT),
    Column("due_date", Date),
    Column("timezone", Text, nullable=False),
    Column("closed_by", Text),
    Column("closed_version", Integer),
    Column("closed_at", _INSTANT),
    Column("completed_at", _INSTANT),
    Column("metadata", JSONB, nullable=False, server_default="{}"),
    Column("series_id", Uuid, ForeignKey("series.id")),
    Column("occurrence_key", Text),
    # The previous instance of the series; no foreign key, for the purge of old rows may leave only its id.
    Column("predecessor_task_id", Uuid),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("created_at", _INSTANT, nullable=False),
    Column("updated_at", _INSTANT, nullable=False),
    Column("deleted_at", _INSTANT),
    UniqueConstraint("user_id", "number"),
    CheckConstraint("number >= 1", name="number"),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint("char_length(title) BETWEEN 1 AND 255", name="title_length"),
    CheckConstraint("char_length(description) <= 5000", name="description_length"),
    CheckConstraint("cardinality(tags) <= 20", name="tags_count"),
    CheckConstraint(_one_of("status", "pending", "in_progress", "completed", "archived"), name="status"),
    CheckConstraint(_one_of("priority", "low", "medium", "high", "urgent"), name="priority"),
    CheckConstraint(_one_of("closed_by", "completed", "skipped", "withdrawn", "erased"), name="closed_by"),
    CheckConstraint("due_at IS NULL OR due_date IS NULL", name="one_due"),
    CheckConstraint("(status = 'completed') = (completed_at IS NOT NULL)", name="completed_at"),
    CheckConstraint(
        "(closed_by IS NULL) = (status IN ('pending', 'in_progress') AND deleted_at IS NULL)", name="closed"
    ),
    CheckConstraint(
        "(closed_by IS NULL) = (closed_version IS NULL) AND (closed_by IS NULL) = (closed_at IS NULL)",
        name="closed_together",
    ),
    CheckConstraint("(series_id IS NULL) = (occurrence_key IS NULL)", name="occurrence_key"),
    Index(
        "uq_tasks_series_id_occurrence_key",
        "series_id",
        "occurrence_key",
        unique=True,
        postgresql_where=text("closed_by IS DISTINCT FROM 'withdrawn' AND series_id IS NOT NULL"),
    ),
    Index(
        "uq_tasks_series_id_predecessor_task_id",
        "series_id",
        "predecessor_task_id",
        unique=True,
        postgresql_where=text("closed_by IS DISTINCT FROM 'withdrawn' AND series_id IS NOT NULL"),
    ),
    # A withdrawn successor is looked for when its predecessor is closed again.
    Index(
        "ix_tasks_predecessor_task_id",
        "predecessor_task_id",
        postgresql_where=text("predecessor_task_id IS NOT NULL"),
    ),
    Index(
        "ix_tasks_created",
        "user_id",
        text("created_at DESC"),
        text("id DESC"),
        postgresql_where=text("deleted_at IS NULL"),
    ),
    Index(
        "ix_tasks_due_at",
        "user_id",
        "due_at",
        postgresql_where=text("deleted_at IS NULL AND due_at IS NOT NULL"),
    ),
    Index(
        "ix_tasks_due_date",
        "user_id",
        "due_date",
        postgresql_where=text("deleted_at IS NULL AND due_date IS NOT NULL"),
    ),
    # What a rebuild pages through: open tasks, by id.
    Index("ix_tasks_open", "id", postgresql_where=text("closed_by IS NULL")),
    postgresql_with={"fillfactor": "85"},
)

task_reminders = Table(
    "task_reminders",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("task_id", Uuid, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("offset", Interval),
    Column("at", _INSTANT),
    Column("channels", ARRAY(Text), nullable=False, server_default="{}"),
    Column("set_at", _INSTANT, nullable=False),
    Column("snoozed_until", _INSTANT),
    Column("acknowledged_at", _INSTANT),
    # What the reminders service reported: the fire time it announced, and the one it plans.
    Column("fired_for", _INSTANT),
    Column("scheduled_for", _INSTANT),
    CheckConstraint('("offset" IS NULL) <> (at IS NULL)', name="offset_or_at"),
)

task_history = Table(
    "task_history",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("task_id", Uuid, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", _INSTANT, nullable=False),
    Column("actor", JSONB, nullable=False),
    Column("changes", JSONB, nullable=False),
    # The command that wrote it, with all its other rows: what can be taken back. Null for rows of an older release.
    Column("change_id", Uuid, index=True),
    # One row per version: a change without history, or counted twice, cannot be written.
    UniqueConstraint("task_id", "version"),
)

task_activity = Table(
    "task_activity",
    metadata,
    # The id of the event that caused the row: told twice is written once.
    Column("id", Uuid, primary_key=True),
    Column("task_id", Uuid, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", Uuid, ForeignKey("users.id"), nullable=False),
    Column("at", _INSTANT, nullable=False),
    Column("kind", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Index("ix_task_activity_task_id_at_id", "task_id", "at", "id"),
)

notification_reads = Table(
    "notification_reads",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("notification_id", Uuid, primary_key=True),
    Column("read_at", _INSTANT, nullable=False),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    # What was asked for with it: another request under the same key is refused.
    Column("fingerprint", LargeBinary, nullable=False),
    # The answer that was given; null only inside the transaction that makes it.
    Column("status", Integer),
    Column("headers", JSONB),
    Column("body", LargeBinary),
    Column("created_at", _INSTANT, nullable=False, index=True),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("event", LargeBinary, nullable=False),
    Column("created_at", _INSTANT, nullable=False, server_default=_NOW),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    # Null until the row has to wait: a fresh row is due at once.
    Column("next_attempt_at", _INSTANT),
    Column("parked_at", _INSTANT),
    # The relay takes topic by topic: fresh rows in their order, failed ones when their time has come.
    Index(
        "ix_outbox_fresh",
        "topic",
        "created_at",
        "id",
        postgresql_where=text("parked_at IS NULL AND next_attempt_at IS NULL"),
    ),
    Index(
        "ix_outbox_waiting",
        "topic",
        "next_attempt_at",
        "id",
        postgresql_where=text("parked_at IS NULL AND next_attempt_at IS NOT NULL"),
    ),
)

epoch = Table(
    "epoch",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    Column("value", Integer, nullable=False, server_default="1"),
    Column("raised_at", _INSTANT, nullable=False, server_default=_NOW),
    CheckConstraint("singleton", name="singleton"),
    CheckConstraint("value >= 1", name="value"),
)
