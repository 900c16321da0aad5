"""Where the audit trail goes, and what the parent tells it of the service: start, stop, configuration.

The parent keeps no segment of the spool open: whoever it forks would hold it, too.
"""

import logging
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path

from minipacs.audit import codes, events
from minipacs.audit.audit import Audit
from minipacs.audit.message import EventOutcome, Message, ResourceObject
from minipacs.audit.sinks import FileSink, Sink, TlsSink, UdpSink
from minipacs.config import Config
from minipacs.config.schema import REPEATED, SECTIONS
from minipacs.daemon import composition
from minipacs.daemon.opening import open_audit
from minipacs.errors import MinipacsError

logger = logging.getLogger(__name__)

_SECURITY = frozenset({"access", "peer", "tls", "audit", "hl7"})
"""Sections that say who may do what, and what is known of it."""
_NETWORK = frozenset({"ae", "web", "metrics"})
"""Sections that say where the archive listens."""


def audit_sinks(config: Config) -> list[Sink]:
    """Return where the audit trail goes."""
    sinks: list[Sink] = []
    if config.audit.file:
        sinks.append(FileSink(Path(config.audit.file), config.audit.keep_days))
    if config.audit.collector is not None:
        scheme, host, port = config.audit.collector
        tls = composition.tls_files(config)
        sinks.append(TlsSink(host, port, tls.client) if scheme == "tls" else UdpSink(host, port))
    return sinks


def tell_start(config: Config, *, ended_cleanly: bool) -> None:
    """Tell that the service is ready; `ended_cleanly` is false if the run before was killed."""
    _tell(config, lambda us: events.application_activity(us.process, starts=True, ended_cleanly=ended_cleanly))


def tell_stop(config: Config) -> None:
    """Tell that the service has done its last work."""
    _tell(config, lambda us: events.application_activity(us.process, starts=False))


def tell_reload(old: Config, new: Config) -> None:
    """Tell which sections of the configuration are others now, and that the trail begins or ends with it."""
    changed = [name for name in SECTIONS if _section(old, name) != _section(new, name)]
    kind = _kind_of(changed)
    description = f"configuration read again; changed: {', '.join(changed) or 'nothing'}"
    teller = old if old.audit.is_on else new
    _tell(teller, lambda us: _alert(us, new, kind, description, EventOutcome.SUCCESS))
    if old.audit.is_on != new.audit.is_on:
        mark = codes.AUDIT_RECORDING_STARTED if new.audit.is_on else codes.AUDIT_RECORDING_STOPPED
        _tell(teller, lambda us: events.security_alert(mark, us.process, description="by the configuration"))


def tell_reload_failed(config: Config, reason: str) -> None:
    """Tell that the configuration was to be changed, and was not."""
    description = f"configuration not read again: {reason}"
    kind, outcome = codes.SOFTWARE_CONFIGURATION, EventOutcome.MINOR_FAILURE
    _tell(config, lambda us: _alert(us, config, kind, description, outcome))


def _kind_of(changed: Collection[str]) -> codes.Code:
    """Name the gravest kind of what was changed."""
    if _SECURITY.intersection(changed):
        return codes.SECURITY_CONFIGURATION
    return codes.NETWORK_CONFIGURATION if _NETWORK.intersection(changed) else codes.SOFTWARE_CONFIGURATION


def _section(config: Config, name: str) -> object:
    return getattr(config, REPEATED.get(name, name))


def _alert(us: Audit, config: Config, kind: codes.Code, description: str, outcome: EventOutcome) -> Message:
    where = f"file://{config.source}" if config.source else "defaults"
    resource = ResourceObject(where, description, name="configuration", is_uri=True)
    return events.security_alert(kind, us.process, resources=[resource], outcome=outcome, description=description)


def _tell(config: Config, message: Callable[[Audit], Message]) -> None:
    try:
        with closing(open_audit(config)) as audit:
            audit.tell(message(audit))
    except MinipacsError as error:
        logger.error("audit trail not told", extra={"fields": {"reason": str(error)}})
