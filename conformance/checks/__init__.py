"""The checks, one file a group. Importing this package registers them in `conformance.catalogue`."""

from . import circuit, identity, injection, mtls, probes, weights

__all__ = ["circuit", "identity", "injection", "mtls", "probes", "weights"]
