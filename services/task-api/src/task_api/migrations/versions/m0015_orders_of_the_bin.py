"""An index for each order of the bin, which leave out what was purged: emptied rows of series stay for good."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_BIN = "WHERE deleted_at IS NOT NULL AND purged_at IS NULL"
INDEXES = {
    "ix_tasks_bin_created": "(user_id, created_at, id)",
    "ix_tasks_bin_updated": "(user_id, updated_at, id)",
    "ix_tasks_bin_due": "(user_id, COALESCE(due_instant, 'infinity'::timestamp with time zone), id)",
    "ix_tasks_bin_priority": "(user_id, priority_rank, id)",
    "ix_tasks_bin_title": "(user_id, title_key, id)",
}


def upgrade() -> None:
    """Make them, unless they were made by hand; what is left of an attempt to is made anew. The one before goes."""
    for name, columns in INDEXES.items():
        op.execute(
            f"""
            DO $$ BEGIN
                IF EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('{name}') AND NOT indisvalid) THEN
                    DROP INDEX {name};
                END IF;
            END $$
            """
        )
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON tasks {columns} {_BIN}")
    op.execute("DROP INDEX ix_tasks_deleted")


def downgrade() -> None:
    """Put the one before back."""
    op.execute(
        "CREATE INDEX ix_tasks_deleted ON tasks (user_id, created_at, id) WHERE deleted_at IS NOT NULL"
    )
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
