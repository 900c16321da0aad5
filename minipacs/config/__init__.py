"""The configuration: ONE table of settings (`schema`), read from TOML into frozen dataclasses (`reading`)."""

from minipacs.config.effective import Config
from minipacs.config.reading import load, resolve
from minipacs.config.schema import (
    AccessConfig,
    AeConfig,
    IndexConfig,
    LogConfig,
    MetricsConfig,
    PeerConfig,
    QueryConfig,
    StorageConfig,
    TimeoutsConfig,
    TlsConfig,
    WorklistConfig,
)
from minipacs.config.text import sample, show, table

__all__ = [
    "AccessConfig",
    "AeConfig",
    "Config",
    "IndexConfig",
    "LogConfig",
    "MetricsConfig",
    "PeerConfig",
    "QueryConfig",
    "StorageConfig",
    "TimeoutsConfig",
    "TlsConfig",
    "WorklistConfig",
    "load",
    "resolve",
    "sample",
    "show",
    "table",
]
