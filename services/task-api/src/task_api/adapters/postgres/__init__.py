"""The ports on PostgreSQL: SQLAlchemy Core over asyncpg."""
