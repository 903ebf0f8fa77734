"""What a cluster is told beside the name of its balancer: tables of hashes, weights of places, and a slow start."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import RuntimeDouble
from envoy.type.v3.percent_pb2 import Percent

from refmesh.api.destination_rule import TrafficPolicy
from refmesh.api.load_balancer import MOST_IN_RING, ConsistentHash
from refmesh.discovery import locality
from refmesh.discovery.packing import duration, uint64

__all__ = ["refine"]


def refine(cluster: Any, policy: TrafficPolicy) -> None:
    """Complete the balancer of a cluster."""
    if policy.hashing is not None:
        _set_table(cluster, policy.hashing)
    places = locality.in_force(policy)
    if places is not None and places.distribute:
        cluster.common_lb_config.locality_weighted_lb_config.SetInParent()
    if policy.warmup is not None:
        slow = Cluster.SlowStartConfig(
            slow_start_window=duration(policy.warmup.duration),
            # Envoy wants a key by which an operator could overrule the number; nobody sets it.
            aggression=RuntimeDouble(default_value=policy.warmup.aggression, runtime_key="refmesh.warmup.aggression"),
            min_weight_percent=Percent(value=policy.warmup.least),
        )
        if cluster.lb_policy == Cluster.ROUND_ROBIN:
            cluster.round_robin_lb_config.slow_start_config.CopyFrom(slow)
        else:
            cluster.least_request_lb_config.slow_start_config.CopyFrom(slow)


def _set_table(cluster: Any, hashing: ConsistentHash) -> None:
    if hashing.table == "maglev":
        cluster.lb_policy = Cluster.MAGLEV
        cluster.maglev_lb_config.CopyFrom(Cluster.MaglevLbConfig(table_size=uint64(hashing.size)))
        return
    cluster.lb_policy = Cluster.RING_HASH
    # Where endpoints have very different weights, Envoy's ring is larger than it is asked to be at least.
    sizes = Cluster.RingHashLbConfig(minimum_ring_size=uint64(hashing.size), maximum_ring_size=uint64(MOST_IN_RING))
    cluster.ring_hash_lb_config.CopyFrom(sizes)
