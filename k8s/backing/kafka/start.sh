#!/bin/sh
# Starts one broker of BROKERS; its number is the end of the pod's name. FOLDER holds the settings, KAFKA the programs.
# It is known by a name that other namespaces can look up too: KEDA asks from its own.
set -eu
settings=${SETTINGS:-/tmp/server.properties}
copies=$((BROKERS < 3 ? BROKERS : 3))
voters=
number=0
while [ "$number" -lt "$BROKERS" ]; do
  voters="$voters${voters:+,}$number@kafka-$number.kafka-brokers:9093"
  number=$((number + 1))
done
{
  cat "${FOLDER:-/etc/taskstream}/server.properties"
  echo "node.id=${HOSTNAME##*-}"
  echo "advertised.listeners=PLAINTEXT://$HOSTNAME.kafka-brokers.$NAMESPACE.svc:9092"
  echo "controller.quorum.voters=$voters"
  echo "default.replication.factor=$copies"
  echo "offsets.topic.replication.factor=$copies"
  echo "transaction.state.log.replication.factor=$copies"
  echo "share.coordinator.state.topic.replication.factor=$copies"
  # An event counts as published once two brokers of three have it.
  echo "min.insync.replicas=$((copies > 1 ? 2 : 1))"
  echo "transaction.state.log.min.isr=$((copies > 1 ? 2 : 1))"
  echo "share.coordinator.state.topic.min.isr=$((copies > 1 ? 2 : 1))"
} > "$settings"
"${KAFKA:-/opt/kafka/bin}/kafka-storage.sh" format --ignore-formatted --cluster-id "$CLUSTER_ID" --config "$settings"
exec "${KAFKA:-/opt/kafka/bin}/kafka-server-start.sh" "$settings"
