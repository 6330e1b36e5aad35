#!/bin/sh
# Makes the namespace, and in it the secrets that External Secrets fetches: external_secrets.sh --values FILE…
# Before anything else, for PostgreSQL gives its roles their passwords when it starts for the first time, and without
# its secret it does not start at all.
set -eu
cd "$(dirname "$0")/../.."
# skaffold says which cluster it means.
cluster() { kubectl ${SKAFFOLD_KUBE_CONTEXT:+--context "$SKAFFOLD_KUBE_CONTEXT"} "$@"; }
cluster apply -f k8s/base/namespace.yaml
# Not straight into a pipe, whose end alone would say whether it went well.
secrets=$(helm template taskstream helm/taskstream --namespace todo "$@" --show-only templates/externalsecrets.yaml)
printf '%s\n' "$secrets" | cluster apply --namespace todo -f -
cluster wait externalsecrets --all --namespace todo --for condition=Ready --timeout 2m
