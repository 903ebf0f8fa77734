"""Putting refmesh on a cluster, taking it away again, and looking whether it is well; manifests are data."""
