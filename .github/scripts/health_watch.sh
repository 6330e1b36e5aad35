#!/bin/sh
# Watches an address for some seconds: health_watch.sh URL SECONDS. Fails when it does not answer 200 three times in a row, or
# when, PROMETHEUS_URL being set, more than one answer in twenty was an error. INTERVAL is 15 s unless it is set.
set -eu
url=${1:?usage: health_watch.sh URL SECONDS}
left=${2:?usage: health_watch.sh URL SECONDS}
interval=${INTERVAL:-15}
share='sum(rate(http_requests_total{status=~"5.."}[2m])) / sum(rate(http_requests_total[2m])) > 0.05'
bad=0
while [ "$left" -gt 0 ]; do
  if [ "$(curl --silent --output /dev/null --max-time 5 --write-out '%{http_code}' "$url" || true)" = 200 ]; then
    bad=0
  else
    bad=$((bad + 1))
    echo "$url did not answer 200 ($bad of 3)."
    [ "$bad" -lt 3 ] || exit 1
  fi
  if [ -n "${PROMETHEUS_URL:-}" ]; then
    answer=$(curl --silent --fail --max-time 5 --get --data-urlencode "query=$share" "$PROMETHEUS_URL/api/v1/query") \
      || { echo "Prometheus does not answer: nothing is known of errors."; exit 1; }
    case $answer in
      *'"result":[]'*) ;;
      *) echo "More than 5 % of the answers are errors: $answer"; exit 1 ;;
    esac
  fi
  sleep "$interval"
  left=$((left - interval))
done
# What erred in the last two looks is no health either.
[ "$bad" -eq 0 ]
