#!/bin/sh
# Prints the secrets of a cluster that stands on k8s/backing, with new random values each time. Once per cluster:
#   sh k8s/make-secrets.sh | kubectl -n todo create -f -
# `create` refuses to touch secrets that are there. SMTP_URL is the mail server; without it mail goes to Mailpit.
# Managed brokers, databases and secret stores: docs/deploy.md.
set -eu
random() { openssl rand -hex 24; }
base64url() { openssl rand -base64 32 | tr '+/' '-_' | tr -d '\n'; }
secret() { printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s}\nstringData:\n' "$1"; }
value() { printf '  %s: "%s"\n' "$1" "$2"; }

redis=$(random)
postgres=$(random)
secret kafka-secret
value brokers kafka:9092
secret redis-secret
value redis-host redis:6379
value redis-password "$redis"
value redis-url "redis://:$redis@redis:6379/0"
secret postgres-secret
value superuser-password "$(random)"
value password "$postgres"
value backup-password "$(random)"
value monitor-password "$(random)"
value database-url "postgresql://taskstream:$postgres@postgres:5432/taskstream"
secret task-api-secret
value encryption-keys "$(base64url)"
printf '  jwt-private-keys: |\n'
openssl genpkey -algorithm ed25519 | sed 's/^/    /'
secret notifier-secret
value smtp-url "${SMTP_URL:-smtp://mailpit:1025}"
value link-secrets "$(random)"
secret app-api-token
value token "$(random)"
secret dapr-api-token
value token "$(random)"
