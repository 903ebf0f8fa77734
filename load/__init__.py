"""Load: an open-loop driver that runs in pods, latency histograms, and the paired comparison of proxy latency.

Nothing here imports `load.driver`: it patches the interpreter for gevent and belongs in a process of its own.
"""

from load.latency import Plan, measure, run_short
from load.meshing import Meshing

__all__ = ["Meshing", "Plan", "measure", "run_short"]
