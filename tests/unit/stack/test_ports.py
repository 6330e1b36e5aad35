"""Ports follow from the instance's name and never overlap inside an instance."""

from __future__ import annotations

import itertools

import pytest

from stack.ports import MAX_REPLICAS, MAX_SERVICES, Ports


def all_ports(ports: Ports) -> list[int]:
    result = [ports.postgres, ports.redis, ports.kafka, ports.kafka_controller, ports.smtp, ports.exporter]
    for service in range(MAX_SERVICES):
        for replica in range(1, MAX_REPLICAS + 1):
            each = ports.replica(service, replica)
            result += [each.app, each.dapr_http, each.dapr_grpc, each.dapr_internal, each.dapr_metrics]
    return result


@pytest.mark.parametrize("name", ["dev", "test", "e2e", "a", "bench-1"])
def test_no_two_uses_share_a_port(name: str) -> None:
    ports = all_ports(Ports.of(name))
    assert len(set(ports)) == len(ports)


def test_the_development_instance_has_the_known_ports() -> None:
    ports = Ports.of("dev")
    assert [ports.replica(service, 1).app for service in range(4)] == [8000, 8001, 8002, 8003]
    assert ports.replica(1, 2).app == 8021
    assert ports.replica(1, 3).app == 8031


def test_every_port_lies_below_the_ones_the_kernel_hands_out() -> None:
    for number in range(2000):
        ports = Ports.of(f"instance-{number}")
        assert ports.base >= 10_200
        assert ports.replica(MAX_SERVICES - 1, MAX_REPLICAS).dapr_metrics < 32_768


def test_blocks_of_different_names_are_the_same_or_apart() -> None:
    bases = {Ports.of(f"instance-{number}").base for number in range(2000)}
    assert len(bases) > 140
    dev = set(all_ports(Ports.of("dev")))
    ordered = sorted(bases)
    assert all(later - earlier >= 150 for earlier, later in itertools.pairwise(ordered))
    assert max(dev) < ordered[0]


def test_the_same_name_always_gives_the_same_ports() -> None:
    # The number is written down: another would part a stack from its running processes.
    assert Ports.of("e2e") == Ports.of("e2e")
    assert Ports.of("t1").postgres == 23_100


@pytest.mark.parametrize(("service", "replica"), [(-1, 1), (MAX_SERVICES, 1), (0, 0), (0, MAX_REPLICAS + 1)])
def test_what_does_not_fit_is_refused(service: int, replica: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        Ports.of("dev").replica(service, replica)
