"""Figures for Prometheus: what happens is counted in every process, what is is asked for by the one that tells it."""

from minipacs.metrics.counters import OTHER_PEER, Metrics, share
from minipacs.metrics.figures import (
    FIGURES_AGE_S,
    Processes,
    Waiting,
    register_expiries,
    register_figures,
    register_routes,
    register_spool,
)
from minipacs.metrics.server import MetricsServer

__all__ = [
    "FIGURES_AGE_S",
    "OTHER_PEER",
    "Metrics",
    "MetricsServer",
    "Processes",
    "Waiting",
    "register_expiries",
    "register_figures",
    "register_routes",
    "register_spool",
    "share",
]
