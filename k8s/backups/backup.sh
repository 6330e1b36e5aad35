#!/bin/sh
# Keep the whole cluster as it is now, then forget what is older than KEEP_DAYS: whole copies, and the log before the
# oldest that is kept. PGHOST, PGUSER and PGPASSWORD say which cluster. A copy is named by the moment at which it was
# whole: PostgreSQL cannot go back to an earlier one with it.
set -eu
mkdir -p "$BACKUPS/base" "$BACKUPS/wal"
rm -rf "$BACKUPS"/base/*.part
pg_basebackup --pgdata "$BACKUPS/base/new.part" --format tar --gzip --checkpoint fast --no-password
name=$(date -u +%Y%m%dT%H%M%SZ)
mv "$BACKUPS/base/new.part" "$BACKUPS/base/$name"
echo "kept $name, $(du -sh "$BACKUPS/base/$name" | cut -f1)"

find "$BACKUPS/base" -mindepth 1 -maxdepth 1 -type d -mtime "+${KEEP_DAYS:-30}" ! -name "$name" -exec rm -rf {} +
oldest=$(ls "$BACKUPS/base" | head -n 1)
first=$(tar -xzOf "$BACKUPS/base/$oldest/base.tar.gz" backup_label | sed -n 's/^START WAL LOCATION: .* (file \([0-9A-F]*\))$/\1/p')
pg_archivecleanup "$BACKUPS/wal" "$first"
