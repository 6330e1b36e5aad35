#!/bin/sh
# Fill an empty PGDATA from the newest whole copy that is older than UNTIL (any time PostgreSQL reads; empty: the latest
# there is). PostgreSQL replays the log up to it when it next starts. What is in PGDATA is never overwritten: it stops
# the restore, or, with MOVE_ASIDE, is moved to a folder beside it. Nothing else may have PGDATA open.
set -eu
newest=
limit=${UNTIL:+$(date -u -d "$UNTIL" +%Y%m%dT%H%M%SZ)}
for name in $(ls "$BACKUPS/base" | grep -v '\.part$'); do
  if [ -z "$limit" ] || [ "$name" \< "$limit" ]; then newest=$name; fi
done
if [ -z "$newest" ]; then
  echo "There is no copy in $BACKUPS/base${UNTIL:+ that is older than $UNTIL}." >&2
  exit 1
fi
if [ -n "$(ls -A "$PGDATA" 2> /dev/null)" ]; then
  if [ -z "${MOVE_ASIDE:-}" ]; then
    echo "$PGDATA is not empty: move what is in it away first." >&2
    exit 1
  elif [ -e "$PGDATA/recovery.signal" ]; then
    echo "removed a restore that was never opened"
    rm -rf "$PGDATA"
  else
    aside=$PGDATA.before-$(date -u +%Y%m%dT%H%M%SZ)
    mv "$PGDATA" "$aside"
    echo "what was there is in $aside"
  fi
fi
mkdir -p "$PGDATA"
chmod 700 "$PGDATA"
# First of all, so that a restore that ends half-way is known for one; PostgreSQL takes it away when it opens.
touch "$PGDATA/recovery.signal"
tar -xzf "$BACKUPS/base/$newest/base.tar.gz" -C "$PGDATA"
tar -xzf "$BACKUPS/base/$newest/pg_wal.tar.gz" -C "$PGDATA/pg_wal"
{
  echo "restore_command = 'cp \"$BACKUPS/wal/%f\" \"%p\"'"
  echo "recovery_target_action = 'promote'"
  # Written when empty, too: a copy that was made after a restore has the moment of that one.
  echo "recovery_target_time = '${UNTIL:-}'"
} >> "$PGDATA/postgresql.auto.conf"
echo "restored $newest; PostgreSQL goes on from there${UNTIL:+ until $UNTIL} when it starts"
