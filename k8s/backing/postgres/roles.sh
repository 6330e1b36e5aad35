#!/bin/sh
# Once, when the data folder is new: the services' role with its database, the backups' role, and,
# where it has a password, the one that measures.
set -eu
psql -v ON_ERROR_STOP=1 -v app="$APP_PASSWORD" -v backup="$BACKUP_PASSWORD" --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE taskstream LOGIN PASSWORD :'app';
CREATE DATABASE taskstream OWNER taskstream;
CREATE ROLE backup LOGIN REPLICATION PASSWORD :'backup';
SQL
if [ -n "${MONITOR_PASSWORD:-}" ]; then
  psql -v ON_ERROR_STOP=1 -v monitor="$MONITOR_PASSWORD" --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE monitor LOGIN PASSWORD :'monitor' IN ROLE pg_monitor;
SQL
fi
