#!/bin/sh
# Goes back to a revision of `helm history`: rollback.sh staging|production|managed REVISION. First what the cluster knew
# at that revision, by the commit that is its images' tag; then its images. Without that commit in this checkout only the
# images go back, which is safe: the code before works with what was added since (docs/runbooks/rollback.md).
set -eu
usage="usage: rollback.sh staging|production|managed REVISION"
environment=${1:?$usage}
revision=${2:?$usage}
cd "$(dirname "$0")/../.."

there=$(mktemp -d)
trap 'rm -rf "$there"' EXIT
known() {
  tag=$(helm get values taskstream --namespace todo --revision "$revision" --output yaml \
    | sed -n 's/^  tag: "\{0,1\}\([^"]*\)"\{0,1\}$/\1/p') || return
  commit=$(git rev-parse --verify --quiet "$tag^{commit}" || git rev-parse --verify --quiet "v$tag^{commit}") || return
  git archive --output "$there/commit.tar" "$commit" k8s components || return
  tar -x -f "$there/commit.tar" -C "$there" || return
  kubectl kustomize "$there/k8s/overlays/$environment" > "$there/everything.yaml" || return
  # Stores, their files and their disks stay, as the tables do.
  awk 'function say() {if (part !~ /\nkind: (StatefulSet|PersistentVolumeClaim|CronJob|ConfigMap)\n/) printf "%s---\n", part
                       part = "\n"}
       BEGIN {part = "\n"} /^---$/ {say(); next} {part = part $0 "\n"} END {say()}' "$there/everything.yaml" \
    > "$there/known.yaml"
  kubectl apply -f "$there/known.yaml"
}
known || echo "What the cluster is told stays as it is: the commit of revision $revision could not be applied." >&2
helm rollback taskstream "$revision" --namespace todo --wait --timeout 10m
