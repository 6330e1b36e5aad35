#!/bin/sh
# Brings the commit GITHUB_SHA into the cluster of KUBECONFIG: release.sh staging|production|managed. First what the
# cluster has to know (k8s/, components/): a sidecar refuses what the new code publishes to a topic it was not told of.
# Then the images of that commit in REPOSITORY; Helm waits until every pod is ready. What fails is taken back.
set -eu
usage="usage: release.sh staging|production|managed"
environment=${1:?$usage}
commit=${GITHUB_SHA:?set it to a commit}
: "${REPOSITORY:?set it to the place of the images}" "${HOST:?set it to the public host}"
cd "$(dirname "$0")/../.."
case $environment in
  staging | production) set -- --values "helm/taskstream/values-$environment.yaml" ;;
  managed) set -- --values helm/taskstream/values-production.yaml --values helm/taskstream/values-managed.yaml ;;
  *) echo "$usage" >&2; exit 2 ;;
esac

# The revision that runs; none before the first release.
before=
if [ -n "$(helm list --all --short --namespace todo --filter '^taskstream$')" ]; then
  before=$(helm history taskstream --namespace todo --output yaml \
    | awk '$1 == "revision:" {revision = $2} $1 == "status:" && $2 == "deployed" {print revision}')
fi
runs=$(kubectl get deployment task-api --namespace todo --ignore-not-found \
  --output 'jsonpath={.metadata.labels.app\.kubernetes\.io/version}')
if [ -n "$runs" ] && [ "$runs" != "$commit" ] && git merge-base --is-ancestor "$commit" "$runs" 2>/dev/null; then
  echo "What runs, $runs, is newer than $commit: nothing was done. rollback.sh goes back." >&2
  exit 1
fi
echo "before=$before" >> "${GITHUB_OUTPUT:-/dev/null}"

.github/scripts/external_secrets.sh "$@"
# All or nothing: what the API server would refuse, it says here.
kubectl apply --dry-run=server --kustomize "k8s/overlays/$environment" > /dev/null
bring() {
  kubectl apply --kustomize "k8s/overlays/$environment" || return
  if [ "$environment" != managed ]; then
    kubectl rollout status statefulset --namespace todo --selector app.kubernetes.io/part-of=taskstream-backing \
      --timeout 10m || return
  fi
  helm upgrade taskstream helm/taskstream --install --namespace todo --wait --wait-for-jobs --timeout 15m "$@" \
    --set "image.repository=$REPOSITORY,host=$HOST" --set-string "image.tag=$commit"
}
if ! bring "$@"; then
  echo "The release failed." >&2
  if [ -n "$before" ]; then
    .github/scripts/rollback.sh "$environment" "$before"
  fi
  exit 1
fi
