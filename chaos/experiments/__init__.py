"""The catalogue of experiments, one file each."""

from collections.abc import Mapping

from chaos.experiment import Experiment
from chaos.experiments import a1, c1, n1, p1

__all__ = ["EXPERIMENTS"]

EXPERIMENTS: Mapping[str, Experiment] = {m.EXPERIMENT.id: m.EXPERIMENT for m in (c1, p1, n1, a1)}
"""Every experiment by id, in the order of a run."""
