"""Keeps N workers serving: starts, watches, replaces and stops them.

The supervisor has no event loop, no threads and (unless it is preloaded) none of the app's code, so that nothing can
block it or break its ``fork``. It owns the listening sockets; workers come and go behind them. Everything it does is
an answer to a signal, to a message of a worker, to the end of a worker, or to a deadline, in one loop.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import selectors
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fastnet.observability.logs import number_logs

from .channel import Channel
from .children import Child, Post, described, fork_worker
from .config import Config, ConfigError
from .handover import NOBODY, Handover, reexecute
from .heartbeat import Page
from .listeners import Listening
from .mailbox import Mailbox
from .reloader import Watcher, check_watcher, is_configuration
from .replacing import RETRY, Replacements
from .server import Contexts, Server, contexts_of
from .shared import SharedMemory
from .signals import SignalPipe
from .stuck import StuckWatch
from .systemd import notify, watchdog_interval
from .trial import Trial
from .worker import EXIT_START, Source, StartError, Worker, longest_stop, work

__all__ = ["Supervisor"]

log = logging.getLogger("fastnet.server")

# Seconds between two looks at the workers' beats.
TICK: Final = 1.0

# Seconds that running requests get when a source file has changed.
EDITING_DRAIN: Final = 1.0


def _watched(config: Config) -> Sequence[str]:
    """The folders in which a change restarts the worker."""
    return config.reload_paths or (os.getcwd(), *(() if config.app_dir is None else (config.app_dir,)))


class Supervisor:
    """``Supervisor(source, config).run()``: returns after a clean stop.

    ``reexec`` makes SIGHUP start the command anew in this process, which brings new code and new settings; without
    it the workers are replaced by others of the same. Raises :class:`ConfigError` and :class:`StartError`.
    """

    def __init__(self, source: Source, config: Config, *, reexec: bool = False) -> None:
        self.source = source
        if config.reload:
            # Whoever edits does not want to wait for streams.
            config = replace(config, timeout_drain=min(config.timeout_drain, EDITING_DRAIN))
        self.config = config
        self.posts: list[Post] = []
        self.page: Page
        self.shared: SharedMemory
        self.listening = Listening()
        self.contexts: Contexts
        self._children: dict[int, Child] = {}
        self._reexec = reexec
        self._trial: Trial | None = None
        self._replacements = Replacements()
        # Workers of posts that are no more: they go once the first post's next worker serves their sockets.
        self._surplus: list[Child] = []
        # With --reload.
        self._watcher: Watcher | None = None
        self._serving = False
        self._stopping = False
        self._failure: StartError | None = None
        self._interrupted = False
        self._stuck = StuckWatch(config.worker_heartbeat)
        self._selector: selectors.BaseSelector
        self._signals: SignalPipe

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        if self.config.reload:
            check_watcher()
        try:
            self._begin()
            while not self._stopping or self._children:
                self._wait()
                self._reap()
                self._look_after()
        finally:
            # Of an exception that nobody expected, workers learn by the end of their channels.
            self._end()
        if self._failure is not None:
            raise self._failure
        log.info("stopped")

    # --- begin and end

    def _begin(self) -> None:
        config = self.config
        self._selector = selectors.DefaultSelector()
        self._signals = SignalPipe()
        self._selector.register(self._signals, selectors.EVENT_READ)
        given = Handover.taken()
        workers = given.workers(config) if given else config.workers
        self.page = Page(given.page if given else None)
        # Anew with new code: its limits may be others.
        self.shared = SharedMemory()
        self.contexts = contexts_of(config)
        self.listening = Listening.open(
            config.listeners,
            places=workers,
            separate=config.sockets == "reuseport",
            inherited=given.sockets if given else (),
        )
        if config.reload:
            # Connections wait while a worker is restarted, or its code mended.
            self.listening.listen(config.listeners)
            self._watcher = Watcher(_watched(config))
            self._selector.register(self._watcher, selectors.EVENT_READ)
        self.posts = [Post() for _ in range(workers)]
        if given is None:
            for post in self.posts:
                self._man(post)
            return
        self._restore(given)
        self._roll()

    def _restore(self, given: Handover) -> None:
        """Go on with the workers of the program before this one."""
        self._serving = True
        for place, item in given.children:
            child = Child.restored(item, self.page)
            self._watch(child)
            if child.leaving:
                continue
            if 0 <= place < len(self.posts):
                self.posts[place].current = child
            else:
                self._surplus.append(child)
        for post in self.posts:
            if post.current is None:
                self._man(post)

    def _end(self) -> None:
        for child in self._children.values():
            child.channel.close()
            child.mailbox.close()
        self.listening.close()
        self._end_watcher()
        self._selector.close()
        self._signals.close()

    # --- one turn

    def _wait(self) -> None:
        for key, _ in self._selector.select(self._patience()):
            if key.fileobj is self._watcher:
                self._hear_of_changes()
            elif isinstance(key.fileobj, Channel):
                self._hear(key.data)
            else:
                for number in self._signals.received():
                    self._on_signal(number)

    def _patience(self) -> float:
        """Seconds until something is due."""
        now = time.monotonic()
        times = [now + TICK, now + self._stuck.interval, *self._replacements.times]
        times += [post.start_at for post in self.posts if post.start_at is not None]
        times += [child.kill_at for child in self._children.values() if child.kill_at is not None]
        if watchdog_interval():
            times.append(now + watchdog_interval())
        return max(min(times) - now, 0.0)

    def _look_after(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if watchdog_interval():
            notify("WATCHDOG=1")
        self._stuck.look(self._children.values(), TICK)
        for child in self._children.values():
            if child.kill_at is not None and now >= child.kill_at:
                log.error("worker %d does not end: it is killed", child.pid)
                child.signal(signal.SIGKILL)
                child.kill_at = None
        if self._stopping:
            return
        for post in self.posts:
            if post.start_at is not None and now >= post.start_at:
                post.start_at = None
                if post.current is None and post.successor is None:
                    self._man(post)
        self._replacements.look_after(now)
        self._replace_next()

    # --- signals

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGINT and self._interrupted:
            log.warning("stopped at once by a second SIGINT")
            for child in self._children.values():
                child.signal(signal.SIGKILL)
            self.listening.close()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._interrupted |= number == signal.SIGINT
            self._stop(signal.Signals(number).name)
        elif number == signal.SIGUSR1:
            for child in self._children.values():
                child.signal(number)
        elif self._stopping:
            return
        elif number == signal.SIGHUP:
            self._reload()
        elif number == signal.SIGTTIN:
            self._resize(len(self.posts) + 1)
        elif number == signal.SIGTTOU:
            self._resize(len(self.posts) - 1)

    def _stop(self, reason: str) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._replacements.clear()
        notify("STOPPING=1")
        log.info("stopping (%s): running requests get %g s", reason, self.config.timeout_drain)
        for child in self._children.values():
            child.stop(longest_stop(self.config))
        if self._trial is not None:
            self._trial.kill()

    def _resize(self, count: int) -> None:
        if count < 1:
            log.warning("the last worker stays")
            return
        if count > len(self.posts):
            try:
                self.listening.grow(count)
            except ConfigError as error:
                log.error("no further worker: %s", error)
                return
            self.posts.append(Post())
            self._man(self.posts[-1])
        else:
            post = self.posts.pop()
            self._surplus += [child for child in (post.current, post.successor) if child is not None]
            # Connections that wait for it are served by the first post's next worker.
            self._replacements.add(self.posts[0])
        log.info("%d workers", count)

    # --- reload

    def _reload(self) -> None:
        try:
            contexts = contexts_of(self.config)
        except ConfigError as error:
            log.error("not reloaded, everything stays as it is: %s", error)
            return
        if not self._reexec:
            self.contexts = contexts
            self._roll()
            return
        if self._trial is not None:
            self._trial.discard()
            self._trial = None
        notify("RELOADING=1")
        log.info("reloading: trying whether the new code starts")
        try:
            self._trial = Trial()
        except OSError as error:
            notify("READY=1")
            log.error("not reloaded, everything stays as it is: %s", error)

    def _hear_of_changes(self) -> None:
        """Source files have changed: new workers for old ones, which go first. Connections wait for them."""
        assert self._watcher is not None
        changed = self._watcher.changes()
        if self._watcher.ended:
            self._selector.unregister(self._watcher)
        if not changed or self._stopping:
            return
        log.info("changed: %s", ", ".join(changed))
        if any(map(is_configuration, changed)):
            self._reload()
            return
        for post in self.posts:
            post.start_at = None
            if post.current is None:
                self._man(post)
            else:
                post.current.stop(longest_stop(self.config))

    def _end_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.end()
            self._watcher = None

    def _on_verdict(self, trial: Trial, status: int) -> None:
        """The trial has ended: become the new program if it would start."""
        self._trial = None
        reason = trial.verdict(status)
        if self._stopping:
            return
        if reason:
            notify("READY=1")
            log.error("not reloaded, everything stays as it is: %s", reason)
        else:
            self._become_new()

    def _become_new(self) -> None:
        numbers = {post.current: number for number, post in enumerate(self.posts)}
        for child in self._children.values():
            if child not in numbers and child not in self._surplus:
                child.stop(longest_stop(self.config))
        state = Handover(
            page=self.page.descriptor,
            sockets=self.listening.hand_over(),
            children=[(numbers.get(child, NOBODY), child.hand_over()) for child in self._children.values()],
            configured=self.config.workers,
            posts=len(self.posts),
        )
        self._end_watcher()
        try:
            # They wait until the new program can take them.
            with self._signals.blocked():
                reexecute(state)
        except OSError as error:
            log.error("not reloaded, everything stays as it is: %s", error)

    def _roll(self) -> None:
        """Replace all workers, one after the other."""
        notify("RELOADING=1")
        log.info("replacing the workers")
        self._replacements.roll(self.posts)

    def _replace_next(self) -> None:
        post = self._replacements.next(self.posts)
        if post is not None:
            try:
                post.successor = self._start(post)
            except OSError as error:
                self._replacement_failed(post, f"a worker could not be started: {error}")
        elif self._replacements.rolled(self.posts):
            notify("READY=1")
            log.info("all workers are new")

    # --- workers

    def _man(self, post: Post) -> None:
        try:
            post.current = self._start(post)
        except OSError as error:
            if not self._serving:
                raise StartError(f"a worker could not be started: {error}") from None
            now = time.monotonic()
            delay = post.crashed(0.0, now)
            log.error("a worker could not be started: %s; tried again in %g s", error, delay)

    def _start(self, post: Post) -> Child:
        """Fork a worker for a post."""
        number, count = self.posts.index(post), len(self.posts)
        child = fork_worker(
            self.page, self._signals, lambda worker, mailbox: self._be_worker(worker, mailbox, number, count)
        )
        for other in self._children.values():
            other.channel.send_descriptor(child.mailbox.writer.fileno(), peer=child.mailbox.name)
        self._watch(child)
        return child

    def _watch(self, child: Child) -> None:
        self._children[child.pid] = child
        self._selector.register(child.channel, selectors.EVENT_READ, child)

    def _be_worker(self, worker: Worker, mailbox: Mailbox, number: int, count: int) -> int:
        """In the child: give back what is the supervisor's, then serve."""
        self._signals.leave()
        self._selector.close()
        for child in self._children.values():
            child.channel.close()
        if self._watcher is not None:
            self._watcher.leave()
        worker.relay = mailbox.relay(child.mailbox for child in self._children.values())
        place = self.listening.of(number, count)
        self.listening.keep(place)
        faulthandler.enable()
        config, contexts, page, shared = self.config, self.contexts, self.page, self.shared
        number_logs(number)
        return work(
            self.source,
            config,
            worker,
            lambda app: Server(
                app,
                config,
                sockets=place,
                contexts=contexts,
                workers=page,
                number=number,
                relay=worker.relay,
                shared=shared,
            ),
        )

    def _hear(self, child: Child) -> None:
        for message in child.channel.receive():
            if message.get("ready"):
                self._on_ready(child)
            elif "failed" in message:
                child.failure = message["failed"]
                child.traceback = message.get("traceback", "")
                child.failure_code = message["code"]
            elif "replace" in message:
                log.info("worker %d is replaced: %s", child.pid, message["replace"])
                post = self._post_of(child)
                if post is not None and not self._stopping:
                    self._replacements.add(post)
        if child.channel.ended:
            self._selector.unregister(child.channel)

    def _post_of(self, child: Child) -> Post | None:
        return next((post for post in self.posts if child in (post.current, post.successor)), None)

    def _on_ready(self, child: Child) -> None:
        child.ready = True
        log.info("worker %d is ready", child.pid)
        post = self._post_of(child)
        if post is None or self._stopping:
            return
        if child is post.successor:
            old, post.current, post.successor = post.current, child, None
            if old is not None:
                old.retire(longest_stop(self.config))
        if post is self.posts[0]:
            for surplus in self._surplus:
                surplus.retire(longest_stop(self.config))
            self._surplus.clear()
        if not self._serving and all(post.is_ready for post in self.posts):
            self._serving = True
            notify("READY=1")
            for name, url in self.listening.urls(self.config.listeners):
                log.info("listening on %s%s", url, "" if name == "main" else f" ({name})")

    # --- ends of workers

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._trial is not None and pid == self._trial.pid:
                self._on_verdict(self._trial, status)
                continue
            child = self._children.pop(pid, None)
            if child is not None:
                # Its last words may still lie in the channel.
                if not child.channel.ended:
                    self._hear(child)
                    if not child.channel.ended:
                        self._selector.unregister(child.channel)
                child.channel.close()
                child.mailbox.close()
                for other in self._children.values():
                    other.channel.send(gone=child.mailbox.name)
                child.slot.free()
                self._on_exit(child, status)

    def _on_exit(self, child: Child, status: int) -> None:
        post = self._post_of(child)
        if child in self._surplus:
            self._surplus.remove(child)
        if post is None or self._stopping:
            return
        if child is post.successor:
            post.successor = None
            self._replacement_failed(post, f"worker {child.pid} {_end_of(child, status)}")
            return
        post.current = None
        if post.successor is not None:
            # Its successor is on its way.
            post.current, post.successor = post.successor, None
            log.error("worker %d %s", child.pid, described(status))
        elif self.config.reload and child.leaving:
            self._man(post)
        elif self.config.reload and not child.ready:
            log.error("worker %d %s\nwaiting for a change", child.pid, _end_of(child, status))
        elif not child.ready and not self._serving:
            self._start_failed(child, status)
        else:
            now = time.monotonic()
            delay = post.crashed(now - child.started, now)
            log.error("worker %d %s; another one is started in %g s", child.pid, _end_of(child, status), delay)

    def _start_failed(self, child: Child, status: int) -> None:
        """At the first start nothing is tried again: it would only fail again."""
        message = child.failure or f"a worker {described(status)} before it was ready"
        self._failure = StartError(message, code=child.failure_code or EXIT_START, traceback=child.traceback)
        self._stop("a worker could not be started")

    def _replacement_failed(self, post: Post, reason: str) -> None:
        if self._replacements.rolling:
            self._replacements.clear()
            notify("READY=1")
            log.error("not reloaded, the other workers stay: %s", reason)
        else:
            self._replacements.retry(post)
            log.error("not replaced, tried again in %g s: %s", RETRY, reason)


def _end_of(child: Child, status: int) -> str:
    if child.failure:
        return f"could not be started: {child.failure}\n{child.traceback}".rstrip()
    return described(status)
