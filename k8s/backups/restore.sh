#!/bin/sh
# Fill an empty PGDATA from the newest whole copy that is older than UNTIL (any time PostgreSQL reads; empty: the latest
# there is). PostgreSQL replays the log up to it when it next starts. What is in PGDATA is never overwritten.
set -eu
if [ -n "$(ls -A "$PGDATA" 2> /dev/null)" ]; then
  echo "$PGDATA is not empty: move what is in it away first." >&2
  exit 1
fi
newest=
limit=${UNTIL:+$(date -u -d "$UNTIL" +%Y%m%dT%H%M%SZ)}
for name in $(ls "$BACKUPS/base" | grep -v '\.part$'); do
  if [ -z "$limit" ] || [ "$name" \< "$limit" ]; then newest=$name; fi
done
if [ -z "$newest" ]; then
  echo "There is no copy in $BACKUPS/base${UNTIL:+ that is older than $UNTIL}." >&2
  exit 1
fi
mkdir -p "$PGDATA"
chmod 700 "$PGDATA"
tar -xzf "$BACKUPS/base/$newest/base.tar.gz" -C "$PGDATA"
tar -xzf "$BACKUPS/base/$newest/pg_wal.tar.gz" -C "$PGDATA/pg_wal"
{
  echo "restore_command = 'cp \"$BACKUPS/wal/%f\" \"%p\"'"
  echo "recovery_target_action = 'promote'"
  # Written when empty, too: a copy that was made after a restore has the moment of that one.
  echo "recovery_target_time = '${UNTIL:-}'"
} >> "$PGDATA/postgresql.auto.conf"
touch "$PGDATA/recovery.signal"
echo "restored $newest; PostgreSQL goes on from there${UNTIL:+ until $UNTIL} when it starts"
