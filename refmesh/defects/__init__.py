"""Faults that are built in on purpose, to find out whether a test suite notices them.

A defect is a small frozen object that replaces one function (its seam) in a running process. This package is imported
only when a defect is asked for by name: a normal mesh contains no branch, flag or import for any of them.
"""

from __future__ import annotations

from refmesh.defects.defect import Defect
from refmesh.defects.registry import catalogue, equivalents, switch_on

__all__ = ["Defect", "catalogue", "equivalents", "switch_on"]
