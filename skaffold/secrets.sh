#!/bin/sh
# Makes the namespace and those of the secrets of k8s/make-secrets.sh that it lacks; what is there stays as it is.
set -eu
cd "$(dirname "$0")/.."
# skaffold says which cluster it means.
cluster() { kubectl ${SKAFFOLD_KUBE_CONTEXT:+--context "$SKAFFOLD_KUBE_CONTEXT"} "$@"; }
command -v openssl >/dev/null || { echo "openssl is missing: install it." >&2; exit 1; }
cluster apply -f k8s/base/namespace.yaml
there=$(cluster get secrets --namespace todo --output name)
missing=$(sh k8s/make-secrets.sh | awk -v there="$there" '
  BEGIN {split(there, names, "\n"); for (i in names) known[names[i]] = 1}
  function say() {if (part != "" && !(("secret/" name) in known)) printf "---\n%s", part; part = ""}
  /^---$/ {say(); next}
  /^metadata: / {name = $0; sub(/.*name: /, "", name); sub(/}.*/, "", name)}
  {part = part $0 "\n"}
  END {say()}')
[ -z "$missing" ] || printf '%s\n' "$missing" | cluster create --namespace todo -f -
