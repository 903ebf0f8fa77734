"""Faults, one file each: name, available, inject, undo, and a landed-probe that goes another way than the injection."""

from collections.abc import Mapping

from chaos.faults.pod_kill import PodKill
from chaos.faults.scale import ScaleToZero
from chaos.faults.sham import Sham
from chaos.faults.toxic import Toxic
from chaos.model import Fault

__all__ = ["FAULTS", "PodKill", "ScaleToZero", "Sham", "Toxic"]

FAULTS: Mapping[str, type[Fault]] = {kind.name: kind for kind in (PodKill, ScaleToZero, Sham, Toxic)}
"""Every fault by name."""
