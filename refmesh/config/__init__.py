"""Ingestion: watches of the cluster, one immutable snapshot per batch of changes, status written back."""
