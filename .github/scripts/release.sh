#!/bin/sh
# Brings the images of GITHUB_SHA in REPOSITORY into the cluster of KUBECONFIG with the values file that is given. Helm waits
# until every pod is ready and takes an upgrade back that does not get there.
set -eu
values=${1:?usage: release.sh VALUES_FILE}
helm upgrade taskstream helm/taskstream --install --namespace todo --atomic --wait --wait-for-jobs --timeout 15m \
  --values "$values" \
  --set "image.repository=${REPOSITORY:?set it to the place of the images},image.tag=${GITHUB_SHA:?set it to a commit},host=${HOST:?set it to the public host}"
