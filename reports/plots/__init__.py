"""Plots as small inline SVG: no dependency, no script, colours from the page's CSS so that light and dark both work."""

from reports.plots.percentiles import percentiles
from reports.plots.timeline import timeline

__all__ = ["percentiles", "timeline"]
