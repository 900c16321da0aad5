"""The parent: opens sockets, forks, supervises, reloads, ends in order. It starts no thread and opens no database.

A *generation* is one jobs process and the workers of one configuration. A reload brings up the next; when all of it is
ready the old one retires: its workers accept no more and end with their last association.
"""

import gc
import logging
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from prometheus_client.multiprocess import mark_process_dead

from minipacs import __version__, log
from minipacs.archive.archive import create_tree
from minipacs.config import Config
from minipacs.daemon import trail
from minipacs.daemon.back_off import BackOff
from minipacs.daemon.metrics_folder import MetricsFolder
from minipacs.daemon.processes import accounts
from minipacs.daemon.processes.process import Process, fork
from minipacs.daemon.processes.pulse import LOOK_INTERVAL_S
from minipacs.daemon.processes.shared import Shared
from minipacs.daemon.roles import FIRST, ROLES, Role, team_size
from minipacs.daemon.service_manager import ServiceManager, inherited_sockets
from minipacs.daemon.slots import MAX_PROCESSES, Slots
from minipacs.daemon.sockets import DICOM, DICOM_TLS, HL7, METRICS, WEB, Sockets
from minipacs.errors import ConfigError, MinipacsError
from minipacs.net.listener import address_of
from minipacs.net.places import PlaceTable

logger = logging.getLogger(__name__)

WATCHDOG_SHARE = 3
"""The watchdog is fed so many times in the time it allows."""
ENDED_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Generation:
    """One configuration, and what its processes are given."""

    number: int
    shared: Shared

    @property
    def config(self) -> Config:
        """Return its configuration."""
        return self.shared.config

    @property
    def sockets(self) -> Sockets:
        """Return what it listens on."""
        return self.shared.sockets

    @property
    def size(self) -> int:
        """Return how many processes it has."""
        return team_size(self.config)


class Parent:
    """The main loop of the daemon. `reload` reads the configuration again."""

    def __init__(self, config: Config, reload: Callable[[], Config]) -> None:
        self._reload_config = reload
        self._manager = ServiceManager()
        self._signals = _Signals()
        self._slots = Slots([role.name for role in ROLES])
        self._places = PlaceTable(MAX_PROCESSES)
        self._respawn = BackOff()
        self._processes: list[Process] = []
        sockets = Sockets.inherited(inherited_sockets()).follow(config)
        self._tree = create_tree(config.storage.path, config.storage.sync)
        self._lock = self._tree.daemon_lock()
        self._metrics_folder = MetricsFolder(config.storage.path)
        self._accounts, self._inbox = accounts.channel()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_prepared = False
        self._was_clean = True
        self._ending = 0
        self._has_told_stop = False
        self._fault = ""
        self._looked_at = time.monotonic()
        self._is_reload_due = False
        self._current: Generation | None = None
        self._coming: Generation | None = self._generation(1, config, sockets)

    def run(self) -> None:
        """Run until a signal ends it. Raises MinipacsError if it cannot begin."""
        gc.collect()
        gc.freeze()
        self._advance()
        while self._processes or not self._ending:
            for number in self._signals.wait(self._due_in_s(), [p.control.fileno() for p in self._processes]):
                self._on_signal(number)
            for process in self._processes:
                self._hear(process)
            self._reap()
            self._check()
            self._advance()
        self._metrics_folder.remove()
        is_whole = self._is_prepared or self._lock.ended_cleanly  # else the recovery that failed is still due
        self._lock.release(cleanly=self._was_clean and is_whole)
        if self._fault:
            raise MinipacsError(self._fault)
        logger.info("stopped")

    def _generation(self, number: int, config: Config, sockets: Sockets) -> Generation:
        self._places.know(peer.title for peer in config.peers)
        shared = Shared(
            config,
            sockets,
            self._places,
            self._slots,
            self._metrics_folder.path,
            self._accounts,
            self._inbox,
            self._wake_fd,
        )
        return Generation(number, shared)

    def _hear(self, process: Process) -> None:
        before = process.busy_with
        process.receive()
        if process.busy_with != before and self._current is None:
            self._manager.status(process.busy_with)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._is_reload_due = True
        elif number in ENDED_SIGNALS:
            self._end()

    def _reload(self, old: Generation) -> None:
        """Bring up a generation with the configuration as it is now; if it has a fault, all stays as it is."""
        self._is_reload_due = False
        self._manager.reloading()
        try:
            config = self._reload_config()
            _check_same_storage(old.config, config)
            self._coming = self._generation(old.number + 1, config, old.sockets.follow(config))
        except MinipacsError as error:
            self._keep(error.faults if isinstance(error, ConfigError) else [str(error)])
            return
        if len(self._processes) + self._coming.size > MAX_PROCESSES:
            self._give_up_coming(f"{len(self._processes)} processes still have associations")

    def _keep(self, faults: list[str] | tuple[str, ...]) -> None:
        self._slots.count_failed_reload()
        if self._current is not None:
            trail.tell_reload_failed(self._current.config, faults[0])
        for fault in faults:
            logger.error("not reloaded: the old configuration stays", extra={"fields": {"reason": fault}})
        self._manager.ready(f"not reloaded: {faults[0]}")

    def _end(self) -> None:
        """Drain; when asked again, end at once."""
        self._ending += 1
        if self._ending == 1:
            open_ = self._places.total()
            logger.info("stopping", extra={"fields": {"associations": open_}})
            self._manager.stopping(f"draining {open_} associations")
        for process in self._processes:
            if process.is_ready:
                process.order("drain" if self._ending == 1 or process.role == FIRST.name else "end")
            else:
                process.is_leaving = True
                os.kill(process.pid, signal.SIGKILL)

    def _advance(self) -> None:
        """Do what is due: begin a reload, fork what is missing, end the first process after the others."""
        if self._ending:
            if all(process.role == FIRST.name for process in self._processes):
                self._tell_stop()
                for process in self._processes:
                    process.order("end")
            return
        if self._is_reload_due and self._current is not None and self._coming is None:
            self._reload(self._current)
        target = self._coming or self._current
        assert target is not None  # noqa: S101  there is one from the beginning
        team = [p for p in self._processes if p.generation == target.number and not p.is_leaving]
        if self._respawn.is_due():
            for role in ROLES if self._is_prepared else [FIRST]:
                running = {process.number for process in team if process.role == role.name}
                for number in sorted(set(range(role.count(target.config))) - running):
                    self._fork(role, number, target)
        if self._coming and len(team) >= target.size and all(process.is_ready for process in team):
            self._take_over(target)

    def _take_over(self, coming: Generation) -> None:
        """Let the generation that has come up do the work, and the old one retire."""
        old, self._current, self._coming = self._current, coming, None
        if old is None:
            trail.tell_start(coming.config, ended_cleanly=self._lock.ended_cleanly or self._lock.is_first)
        else:
            trail.tell_reload(old.config, coming.config)
        for process in self._processes:
            if process.generation != coming.number and not process.is_leaving:
                process.order("retire")
        if old is not None:
            old.sockets.close_unless(coming.sockets)
        fields: dict[str, object] = {
            "version": __version__,
            "ae_title": coming.config.ae.title,
            "dicom": ",".join(map(address_of, coming.sockets.of(DICOM))) or None,
            "dicom_tls": ",".join(map(address_of, coming.sockets.of(DICOM_TLS))) or None,
            "metrics": ",".join(map(address_of, coming.sockets.of(METRICS))) or None,
            "web": ",".join(dict.fromkeys(map(address_of, coming.sockets.of(WEB)))) or None,
            "hl7": ",".join(map(address_of, coming.sockets.of(HL7))) or None,
            "storage": str(coming.config.storage.path),
            "policy": self._policy(coming),
            "workers": sum(process.role == "worker" for process in self._processes if not process.is_leaving),
        }
        logger.info("ready" if old is None else "reloaded", extra={"fields": fields})
        self._manager.ready(f"{coming.config.ae.title} accepts associations")

    def _tell_stop(self) -> None:
        """Tell the audit trail, once, and before the process ends that delivers it."""
        if self._current is not None and not self._has_told_stop:
            self._has_told_stop = True
            trail.tell_stop(self._current.config)

    def _policy(self, generation: Generation) -> str:
        sockets = [*generation.sockets.of(DICOM), *generation.sockets.of(DICOM_TLS)]
        return generation.config.policy([str(sock.getsockname()[0]) for sock in sockets])

    def _fork(self, role: Role, number: int, generation: Generation) -> None:
        settings = generation.config.log
        log.setup(settings.level, settings.format, identifiers=settings.identifiers)
        shared = replace(generation.shared, lock=None if self._is_prepared else self._lock, number=number)
        run = partial(role.run, shared)
        try:
            process = fork(role.name, generation.number, self._slots, run, self._needless(role, generation))
        except OSError as error:
            logger.error("cannot fork", extra={"fields": {"role": role.name, "reason": error.strerror}})
            process = None
        if process is None:
            self._respawn.died(0)
        else:
            process.number = number
            self._processes.append(process)

    def _needless(self, role: Role, generation: Generation) -> Iterator[int]:
        """Give the descriptors that a child is to close: a socket that is left open anywhere is not closed."""
        yield self._lock.fileno()
        yield from self._signals.descriptors
        for process in self._processes:
            yield process.control.fileno()
        needed = {sock for name in role.endpoints for sock in generation.sockets.of(name)}
        open_ = {sock for known in (self._current, self._coming) if known for sock in known.sockets.all()}
        yield from (sock.fileno() for sock in open_ - needed)

    def _reap(self) -> None:
        for process in list(self._processes):
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid:
                process.receive()
                process.control.close()
                self._processes.remove(process)
                self._slots.clear(process.slot)
                self._places.clear(process.slot)
                mark_process_dead(process.slot, str(self._metrics_folder.path))  # type: ignore[no-untyped-call]
                self._mourn(process, os.waitstatus_to_exitcode(status))
        self._is_prepared = self._is_prepared or any(process.is_ready for process in self._processes)

    def _mourn(self, process: Process, exit_code: int) -> None:
        """Clean up after a process that has ended, if it was not asked to or did not manage to."""
        if process.is_leaving and exit_code == 0:
            return
        swept = self._tree.sweep_incoming()
        self._was_clean = self._was_clean and bool(process.fault) and not process.is_ready
        if process.is_leaving:
            return
        lived_s = time.monotonic() - process.forked_at
        self._slots.count_death()
        how = f"signal {-exit_code}" if exit_code < 0 else f"exit status {exit_code}"
        fields: dict[str, object] = {"role": process.role, "pid": process.pid, "how": how}
        fields |= {"reason": process.fault or None, "lived_s": round(lived_s, 3), "files_swept": swept}
        if self._coming is None or process.generation != self._coming.number:
            logger.error("process died", extra={"fields": fields})
            self._respawn.died(lived_s)
        elif self._current is None:
            self._fault = process.fault or f"the {process.role} process ended with {how} at the start"
            self._end()
        else:
            self._give_up_coming(process.fault or f"a new {process.role} process ended with {how}")

    def _give_up_coming(self, reason: str) -> None:
        coming, self._coming = self._coming, None
        assert coming is not None  # noqa: S101  only called while one is coming
        assert self._current is not None  # noqa: S101
        for process in self._processes:
            if process.generation == coming.number:
                process.order("end")
        coming.sockets.close_unless(self._current.sockets)
        self._keep([reason])

    def _check(self) -> None:
        """Kill what has stalled; feed the watchdog while every process is healthy."""
        now = time.monotonic()
        passed_s, self._looked_at = now - self._looked_at, now
        watched = [p for p in self._processes if p.is_ready and not p.is_leaving and not p.was_killed]
        for process in watched:
            shown = self._slots.get(process.slot)
            process.pulse.look(shown.beat_ns if shown else 0, passed_s)
            if process.pulse.has_stalled:
                fields = {"role": process.role, "pid": process.pid, "silent_s": round(process.pulse.silent_s, 1)}
                logger.error("process stalled: killed", extra={"fields": fields})
                process.kill()
        is_complete = self._current is None or len(watched) >= self._current.size or bool(self._ending)
        if is_complete and not any(process.pulse.is_late for process in watched):
            self._manager.alive()

    def _due_in_s(self) -> float:
        due_in_s = LOOK_INTERVAL_S
        if self._manager.watchdog_s is not None:
            due_in_s = min(due_in_s, self._manager.watchdog_s / WATCHDOG_SHARE)
        return min(due_in_s, self._respawn.due_in_s())


class _Signals:
    """Signals as something to wait for."""

    def __init__(self) -> None:
        self.descriptors = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (*ENDED_SIGNALS, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda number, frame: None)
        signal.set_wakeup_fd(self.descriptors[1])

    def wait(self, timeout_s: float, others: list[int]) -> bytes:
        """Wait for signals or for one of `others` to be readable; gives the signals' numbers."""
        poll = select.poll()
        for fd in (self.descriptors[0], *others):
            poll.register(fd, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(timeout_s * 1000)]
        return os.read(self.descriptors[0], 512) if self.descriptors[0] in ready else b""


def _check_same_storage(old: Config, new: Config) -> None:
    for key, before, after in (
        ("storage.path", old.storage.path, new.storage.path),
        ("index.url", old.index_path, new.index_path),
    ):
        if before != after:
            raise MinipacsError(f"{key} = {after}: cannot change from {before} without a restart")


def serve(config: Config, reload: Callable[[], Config]) -> None:
    """Run the archive until SIGTERM or SIGINT; `reload` gives the configuration again at SIGHUP.

    At the end open associations get `timeouts.drain`, at a second signal nothing. Call from the main thread. Raises
    MinipacsError if it cannot start.
    """
    _raise_descriptor_limit()
    Parent(config, reload).run()


def _raise_descriptor_limit() -> None:
    """Every association takes a few descriptors, and the usual soft limit of 1024 is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
