"""The tables as SQLAlchemy Core sees them. The migrations make them; a test holds the two equal.

Instants are timestamptz; local moments (`start_local`, `occurrence_key`, `exdates`) are text in the form of
event_contracts.values.LocalMoment; `offset` is an interval. Text ids never occur: keys are UUIDv7, or the id of the
event that caused the row.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Time,
    UniqueConstraint,
    Uuid,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

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
_LIVE = text("deleted_at IS NULL")
_IN_BIN = text("deleted_at IS NOT NULL AND purged_at IS NULL")
_DUE = "COALESCE(due_instant, 'infinity'::timestamp with time zone)"


def _one_of(column: str, *words: str) -> str:
    return f"{column} IN ({', '.join(repr(word) for word in words)})"


# What the generated columns and the counter of changes stand on, in the migrations' words.
_FOLDED = """
    CREATE FUNCTION folded(value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        AS $$ SELECT lower(public.unaccent('public.unaccent'::regdictionary, value)) $$
"""
_TASK_SEARCH = """
    CREATE FUNCTION task_search(title text, tags text[], description text) RETURNS tsvector
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT setweight(to_tsvector('simple'::regconfig, folded(title)), 'A')
            || setweight(to_tsvector('simple'::regconfig, folded(array_to_string(tags, ' '))), 'B')
            || setweight(to_tsvector('simple'::regconfig, folded(coalesce(description, ''))), 'C') $$
"""
_NOTE_USER_CHANGE = """
    CREATE FUNCTION note_user_change() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE whose uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.user_id ELSE NEW.user_id END;
        BEGIN
            INSERT INTO user_changes AS known (user_id, number, transaction)
            VALUES (whose, 1, pg_current_xact_id()::text::bigint)
            ON CONFLICT (user_id) DO UPDATE
                SET number = known.number + 1, transaction = excluded.transaction
                WHERE known.transaction <> excluded.transaction;
            RETURN NULL;
        END $$
"""
# The emergency stop, so that whoever reaches the database can pull it. The locks wait for logins under way.
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
for _statement in (
    "CREATE EXTENSION IF NOT EXISTS unaccent",
    "CREATE EXTENSION IF NOT EXISTS btree_gin",
    _FOLDED,
    _TASK_SEARCH,
    _NOTE_USER_CHANGE,
    _LOCK_DOWN,
    _LIFT_LOCKDOWN,
):
    event.listen(metadata, "before_create", DDL(_statement))  # type: ignore[no-untyped-call]

for _signature in (
    "lift_lockdown()",
    "lock_down(text)",
    "note_user_change()",
    "task_search(text, text[], text)",
    "folded(text)",
):
    event.listen(metadata, "after_drop", DDL(f"DROP FUNCTION {_signature}"))  # type: ignore[no-untyped-call]

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
    Column("disabled_at", _INSTANT),
    Column("erase_requested_at", _INSTANT),
    Column("created_at", _INSTANT, nullable=False, server_default=_NOW),
    Column("updated_at", _INSTANT, nullable=False, server_default=_NOW),
    CheckConstraint("email_key = lower(email_key)", name="email_key_lower"),
    CheckConstraint(_one_of("role", "user", "admin"), name="role"),
    Index(
        "ix_users_to_erase",
        "erase_requested_at",
        postgresql_where=text("erase_requested_at IS NOT NULL"),
    ),
    # Every create rewrites the row; room on its page keeps that update off the indexes.
    postgresql_with={"fillfactor": "50"},
)

session_families = Table(
    "session_families",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Null once the person was erased: that the session ended must be known for as long as its tokens live.
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="SET NULL"), index=True),
    Column("created_at", _INSTANT, nullable=False),
    Column("revoked_at", _INSTANT),
    Column("expires_at", _INSTANT, nullable=False),
    # What the mirror of ended sessions is refilled from.
    Index("ix_session_families_revoked_at", "revoked_at", postgresql_where=text("revoked_at IS NOT NULL")),
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

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", _INSTANT, nullable=False),
    Column("expires_at", _INSTANT),
    Column("last_used_at", _INSTANT),
)

calendar_tokens = Table(
    "calendar_tokens",
    metadata,
    # One a person: a new secret takes the place of the old one.
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", _INSTANT, nullable=False),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("at", _INSTANT, nullable=False),
    Column("action", Text, nullable=False),
    Column("succeeded", Boolean, nullable=False),
    # No foreign key: the log outlives the account, of which it keeps the bare id.
    Column("user_id", Uuid),
    Column("address", Text),
    Column("request_id", Text),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Index("ix_audit_log_at_id", "at", "id"),
    Index("ix_audit_log_user_id_at", "user_id", "at"),
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

series_history = Table(
    "series_history",
    metadata,
    # One row per version, as in task_history; the owner is the series'.
    Column("series_id", Uuid, ForeignKey("series.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("at", _INSTANT, nullable=False),
    Column("actor", JSONB, nullable=False),
    Column("changes", JSONB, nullable=False),
    # The command that wrote it, with the rows of its tasks: what can be taken back.
    Column("change_id", Uuid, nullable=False, index=True),
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
    # When it is due as an instant, all-day tasks at the start of their owner's day: what lists are sorted by.
    Column("due_instant", _INSTANT),
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
    # Set on the emptied row that an instance of a series leaves behind.
    Column("purged_at", _INSTANT),
    Column(
        "priority_rank",
        SmallInteger,
        Computed(
            "CASE priority WHEN 'low' THEN 1 WHEN 'medium' THEN 2 WHEN 'high' THEN 3 ELSE 4 END",
            persisted=True,
        ),
    ),
    Column("title_key", Text(collation="C"), Computed("folded(title)", persisted=True)),
    Column("search", TSVECTOR, Computed("task_search(title, tags, description)", persisted=True)),
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
    # The two above leave withdrawn instances out, which a deletion of the series and its open ones are not found by.
    Index("ix_tasks_series_id", "series_id", postgresql_where=text("series_id IS NOT NULL")),
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
    # One for each order that a list may have; they are read in both directions.
    Index("ix_tasks_updated", "user_id", "updated_at", "id", postgresql_where=_LIVE),
    Index("ix_tasks_due", "user_id", text(_DUE), "id", postgresql_where=_LIVE),
    Index("ix_tasks_priority", "user_id", "priority_rank", "id", postgresql_where=_LIVE),
    Index("ix_tasks_title", "user_id", "title_key", "id", postgresql_where=_LIVE),
    # What people filter by most, in the order they see it.
    Index("ix_tasks_status", "user_id", "status", "created_at", "id", postgresql_where=_LIVE),
    # The same orders of the bin; a task that is not deleted has no part in them.
    Index("ix_tasks_bin_created", "user_id", "created_at", "id", postgresql_where=_IN_BIN),
    Index("ix_tasks_bin_updated", "user_id", "updated_at", "id", postgresql_where=_IN_BIN),
    Index("ix_tasks_bin_due", "user_id", text(_DUE), "id", postgresql_where=_IN_BIN),
    Index("ix_tasks_bin_priority", "user_id", "priority_rank", "id", postgresql_where=_IN_BIN),
    Index("ix_tasks_bin_title", "user_id", "title_key", "id", postgresql_where=_IN_BIN),
    Index("ix_tasks_to_purge", "deleted_at", postgresql_where=_IN_BIN),
    # What is overdue, or due soon, among what is open.
    Index("ix_tasks_open_due", "user_id", "due_instant", postgresql_where=text("closed_by IS NULL")),
    Index("ix_tasks_tags", "user_id", "tags", postgresql_using="gin", postgresql_where=_LIVE),
    Index("ix_tasks_search", "user_id", "search", postgresql_using="gin", postgresql_where=_LIVE),
    # What a rebuild pages through: open tasks, by id.
    Index("ix_tasks_open", "id", postgresql_where=text("closed_by IS NULL")),
    postgresql_with={"fillfactor": "85"},
)

# The planner knows nothing of an expression by an index that holds some of the rows only.
event.listen(
    tasks,
    "after_create",
    DDL(f"CREATE STATISTICS st_tasks_due ON {_DUE} FROM tasks"),  # type: ignore[no-untyped-call]
)

task_reminders = Table(
    "task_reminders",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("task_id", Uuid, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False, index=True),
    # No foreign key: the row goes with its task, whose owner this is, and a check would need an index of its own.
    Column("user_id", Uuid, nullable=False),
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
    Column("user_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", _INSTANT, nullable=False),
    Column("actor", JSONB, nullable=False),
    Column("changes", JSONB, nullable=False),
    # The command that wrote it, with all its other rows: what can be taken back. Null for rows of an older release.
    Column("change_id", Uuid, index=True),
    # One row per version: a change without history, or counted twice, cannot be written.
    UniqueConstraint("task_id", "version"),
    # What changed lately, for a sibling that lost it. Rows come in the order of time: a block range is enough.
    Index("ix_task_history_at", "at", postgresql_using="brin"),
)

task_activity = Table(
    "task_activity",
    metadata,
    # The id of the event that caused the row: told twice is written once.
    Column("id", Uuid, primary_key=True),
    Column("task_id", Uuid, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("at", _INSTANT, nullable=False),
    Column("kind", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Index("ix_task_activity_task_id_at_id", "task_id", "at", "id"),
    # What was announced, for an inbox that is built again.
    Index("ix_task_activity_fired", "at", "id", postgresql_where=text("kind = 'reminder_fired'")),
    Index("ix_task_activity_generated", "at", "id", postgresql_where=text("kind = 'occurrence_generated'")),
)

notification_reads = Table(
    "notification_reads",
    metadata,
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("notification_id", Uuid, primary_key=True),
    Column("read_at", _INSTANT, nullable=False),
)

notification_preferences = Table(
    "notification_preferences",
    metadata,
    # No row: the defaults, at version 1.
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("email", Boolean, nullable=False),
    Column("quiet_from", Time),
    Column("quiet_until", Time),
    Column("late_policy", Text, nullable=False),
    Column("drop_after", Interval),
    Column("generated", Boolean, nullable=False),
    Column("updated_at", _INSTANT, nullable=False),
    CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL)", name="quiet_hours"),
    CheckConstraint(_one_of("late_policy", "send", "digest", "drop_after"), name="late_policy"),
    CheckConstraint("(late_policy = 'drop_after') = (drop_after IS NOT NULL)", name="drop_after"),
)

notification_channels = Table(
    "notification_channels",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    # Addresses and secrets, encrypted: a copy of the database alone reaches nobody.
    Column("sealed", LargeBinary, nullable=False),
    CheckConstraint(_one_of("kind", "webhook", "chat", "push"), name="kind"),
)

lockdown = Table(
    "lockdown",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default=text("true")),
    # Rises with each stop and each lifting of one, so that no process misses a short one.
    Column("number", Integer, nullable=False, server_default="0"),
    Column("since", _INSTANT),
    Column("reason", Text),
    CheckConstraint("singleton", name="singleton"),
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

user_changes = Table(
    "user_changes",
    metadata,
    Column("user_id", Uuid, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    # The transaction that raised it last: one raises it once, however many rows it writes.
    Column("transaction", BigInteger, nullable=False),
    postgresql_with={"fillfactor": "50"},
)
for _table in (tasks, series):
    # Deferred to the commit: the counter is the last row that a transaction locks, so it can be in nobody's way.
    event.listen(
        metadata,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"""
            CREATE CONSTRAINT TRIGGER note_user_change AFTER INSERT OR UPDATE OR DELETE ON {_table.name}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_user_change()
            """
        ),
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
