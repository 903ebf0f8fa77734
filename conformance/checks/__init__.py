"""The checks, one file a group. Importing this package registers them in `conformance.catalogue`."""

from . import (
    circuit,
    faults,
    identity,
    injection,
    mtls,
    patience,
    probes,
    retries,
    routing,
    routing_backends,
    routing_copies,
    routing_grants,
    routing_protocols,
    routing_status,
    weights,
    weights_change,
)

__all__ = [
    "circuit",
    "faults",
    "identity",
    "injection",
    "mtls",
    "patience",
    "probes",
    "retries",
    "routing",
    "routing_backends",
    "routing_copies",
    "routing_grants",
    "routing_protocols",
    "routing_status",
    "weights",
    "weights_change",
]
