"""The daemon: a parent that supervises workers and a jobs process; and what commands need to open the same archive.

parent   opens the sockets, forks, supervises, speaks to systemd; no thread, no database
workers  share the sockets; a thread for each association, one index writer each
jobs     one process for the work that no peer waits for; serves /metrics, /healthz, /readyz
"""

from collections.abc import Callable

from minipacs.config import Config
from minipacs.daemon.opening import key_table, open_archive, open_audit

__all__ = ["key_table", "open_archive", "open_audit", "serve"]


def serve(config: Config, load: Callable[[], Config]) -> None:
    """Run the daemon, see `parent.serve`."""
    from minipacs.daemon import parent  # with all that serves: other commands need none of it

    parent.serve(config, load)
