#!/bin/sh
# Writes the secrets of the system that compose.yaml describes into compose/secrets, or into the folder that is given.
# What is there already stays: whoever wants new ones deletes the folder, and the volumes with it.
set -eu
umask 077
folder=${1:-$(dirname "$0")/secrets}
if [ -e "$folder" ]; then
  echo "$folder is there already: nothing was done."
  exit 0
fi
command -v openssl >/dev/null || { echo "openssl is missing: install it." >&2; exit 1; }
new=$folder.new
rm -rf "$new"
mkdir -p "$new"

word() { openssl rand -hex 24; }
postgres=$(word) redis=$(word) app=$(word) dapr=$(word)
# Of one line, as an env file wants it; the service reads \n as a line break.
signing=$(openssl genpkey -algorithm ed25519 | awk '{printf "%s\\n", $0}')
encryption=$(openssl rand -base64 32 | tr '+/' '-_')

cat > "$new/postgres.env" <<END
POSTGRES_USER=taskstream
POSTGRES_DB=taskstream
POSTGRES_PASSWORD=$postgres
END
cat > "$new/postgres-exporter.env" <<END
DATA_SOURCE_NAME=postgresql://taskstream:$postgres@postgres:5432/taskstream?sslmode=disable
END
cat > "$new/redis.env" <<END
REDIS_PASSWORD=$redis
END
cat > "$new/tokens.env" <<END
APP_API_TOKEN=$app
DAPR_API_TOKEN=$dapr
END
cat > "$new/service.env" <<END
REDIS_URL=redis://:$redis@redis:6379/0
END
cat > "$new/task-api.env" <<END
DATABASE_URL=postgresql://taskstream:$postgres@postgres:5432/taskstream
JWT_PRIVATE_KEYS='$signing'
ENCRYPTION_KEYS=$encryption
END
cat > "$new/notifier.env" <<END
LINK_SECRETS=$(word)
END
# What components/*.yaml refer to, as a cluster's Secret objects would hold it.
cat > "$new/dapr.json" <<END
{
  "kafka-secret": {"brokers": "kafka:9092"},
  "redis-secret": {"redis-host": "redis:6379", "redis-password": "$redis"}
}
END
# The sidecar's image runs as a user of its own; the folder around it keeps others of this machine out.
chmod 644 "$new/dapr.json"
mv "$new" "$folder"
echo "Secrets are in $folder."
