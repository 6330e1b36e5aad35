"""Sorting, searching, and the counter of a person's changes."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_FUNCTIONS = (
    """
    CREATE FUNCTION folded(value text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        AS $$ SELECT lower(public.unaccent('public.unaccent'::regdictionary, value)) $$
    """,
    """
    CREATE FUNCTION task_search(title text, tags text[], description text) RETURNS tsvector
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT setweight(to_tsvector('simple'::regconfig, folded(title)), 'A')
            || setweight(to_tsvector('simple'::regconfig, folded(array_to_string(tags, ' '))), 'B')
            || setweight(to_tsvector('simple'::regconfig, folded(coalesce(description, ''))), 'C') $$
    """,
    """
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
    """,
)
_COLUMNS = """
    ALTER TABLE tasks
        ADD COLUMN due_instant TIMESTAMP WITH TIME ZONE,
        ADD COLUMN priority_rank SMALLINT GENERATED ALWAYS AS (
            CASE priority WHEN 'low' THEN 1 WHEN 'medium' THEN 2 WHEN 'high' THEN 3 ELSE 4 END) STORED,
        ADD COLUMN title_key TEXT COLLATE "C" GENERATED ALWAYS AS (folded(title)) STORED,
        ADD COLUMN search TSVECTOR GENERATED ALWAYS AS (task_search(title, tags, description)) STORED
"""
_INDEXES = {
    "ix_tasks_updated": "(user_id, updated_at, id) WHERE deleted_at IS NULL",
    "ix_tasks_due": (
        "(user_id, COALESCE(due_instant, 'infinity'::timestamp with time zone), id) WHERE deleted_at IS NULL"
    ),
    "ix_tasks_priority": "(user_id, priority_rank, id) WHERE deleted_at IS NULL",
    "ix_tasks_title": "(user_id, title_key, id) WHERE deleted_at IS NULL",
    "ix_tasks_status": "(user_id, status, created_at, id) WHERE deleted_at IS NULL",
    "ix_tasks_deleted": "(user_id, created_at, id) WHERE deleted_at IS NOT NULL",
    "ix_tasks_open_due": "(user_id, due_instant) WHERE closed_by IS NULL",
    "ix_tasks_tags": "USING gin (user_id, tags) WHERE deleted_at IS NULL",
    "ix_tasks_search": "USING gin (user_id, search) WHERE deleted_at IS NULL",
}


def upgrade() -> None:
    """The generated columns rewrite the table once; the due instants of rows that are there are computed."""
    op.execute("CREATE EXTENSION IF NOT EXISTS unaccent")
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gin")
    for function in _FUNCTIONS:
        op.execute(function)
    op.execute(_COLUMNS)
    op.execute(
        """
        UPDATE tasks SET due_instant = coalesce(due_at, timezone(tasks.timezone, due_date + users.day_start))
        FROM users WHERE users.id = tasks.user_id AND (due_at IS NOT NULL OR due_date IS NOT NULL)
        """
    )
    for name, columns in _INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON tasks {columns}")
    op.execute("DROP INDEX ix_tasks_due_at")
    op.execute("DROP INDEX ix_tasks_due_date")
    op.execute(
        """
        CREATE TABLE user_changes (
            user_id UUID NOT NULL,
            number BIGINT NOT NULL,
            transaction BIGINT NOT NULL,
            CONSTRAINT pk_user_changes PRIMARY KEY (user_id)
        ) WITH (fillfactor = 50)
        """
    )
    for table in ("tasks", "series"):
        op.execute(
            f"""
            CREATE CONSTRAINT TRIGGER note_user_change AFTER INSERT OR UPDATE OR DELETE ON {table}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_user_change()
            """
        )


def downgrade() -> None:
    """Remove them; the extensions stay, for others may use them by now."""
    for table in ("tasks", "series"):
        op.execute(f"DROP TRIGGER note_user_change ON {table}")
    op.execute("DROP TABLE user_changes")
    op.execute(
        "CREATE INDEX ix_tasks_due_at ON tasks (user_id, due_at) WHERE deleted_at IS NULL AND due_at IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX ix_tasks_due_date ON tasks (user_id, due_date) "
        "WHERE deleted_at IS NULL AND due_date IS NOT NULL"
    )
    for name in _INDEXES:
        op.execute(f"DROP INDEX {name}")
    op.execute(
        "ALTER TABLE tasks DROP COLUMN search, DROP COLUMN title_key, DROP COLUMN priority_rank, "
        "DROP COLUMN due_instant"
    )
    for function in ("note_user_change()", "task_search(text, text[], text)", "folded(text)"):
        op.execute(f"DROP FUNCTION {function}")
