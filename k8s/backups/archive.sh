#!/bin/sh
# PostgreSQL's archive_command: keep one finished segment of the log, whole or not at all. $1 where it is, $2 its name.
set -eu
folder=$BACKUPS/wal
mkdir -p "$folder"
if [ -e "$folder/$2" ]; then
  # After a crash PostgreSQL asks again; a different file of the same name would be another cluster's.
  cmp -s "$1" "$folder/$2"
  exit
fi
cp "$1" "$folder/$2.part"
sync "$folder/$2.part"
mv "$folder/$2.part" "$folder/$2"
