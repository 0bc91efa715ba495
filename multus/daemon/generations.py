"""The current generation, the next one while it loads, and old ones that finish their calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError, InvalidConfig
from multus.daemon.channel import Channel, Closed
from multus.daemon.generation import Generation
from multus.daemon.settings import Settings
from multus.log import Log

if TYPE_CHECKING:
    from multus.daemon.board import Board
    from multus.daemon.calls import Calls
    from multus.daemon.loop import Loop

#: Pauses before a template that ended is restarted, in seconds; none after it ran for ``_LONG``.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LONG = 60.0
#: Time for the API processes to flush their write queues when the daemon stops, in seconds.
_LAST_WRITES = 6.0

#: Called with the reason why a reload failed, "" when it succeeded.
Told = Callable[[str], None]


class Generations:
    """Starts and replaces generations; for the supervisor's only thread."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        board: Board,
        loop: Loop,
        log: Log,
        target: str,
        *,
        follow: bool = True,
    ) -> None:
        self._environ = environ
        self._board = board
        self._loop = loop
        self._log = log
        self._target = target
        self._follow = follow
        self._number = 0
        self._listening: dict[int, tuple[Channel, Generation]] = {}
        self._next: Generation | None = None
        self._waiting: list[Told] = []
        self._again: list[Told] = []
        self._old: list[Generation] = []
        self._restart_at, self._pause = 0.0, 0.0
        self._serves_since = float("-inf")
        self.current = self._begin(settings)
        self.calls: Calls | None = None

    def start(self) -> None:
        """Wait until the first one is ready; raises ``InvalidConfig`` when it fails."""
        while not self.current.ready:
            if self.current.failure:
                raise InvalidConfig(self.current.failure)
            self._loop.turn(0.1)
            self.current.tick(time.monotonic())
            self._listen(self.current)

    def not_ready(self) -> str:
        """Why calls would be slow or refused; empty when the daemon is ready."""
        if self.current.dead:
            return "the template process is restarting"
        return str(self.current.states.get("notSynced", ""))

    @property
    def states(self) -> Mapping[str, Any]:
        """The API process's last report on its caches."""
        return self.current.states

    def reload(self, told: Told) -> None:
        """Read the settings again and start the next generation; call *told* with the result."""
        if self._next is not None:
            # The generation that is loading may have read the settings before they were changed.
            self._again.append(told)
            return
        try:
            settings = Settings.read(self.current.settings.path, self._environ)
            self._next = self._begin(settings)
        except (CNIError, OSError) as error:
            self._log.error("cannot reload", error=error)
            told(str(error))
            return
        self._waiting.append(told)

    def tick(self, now: float) -> None:
        """Check the generations: replace, restart or remove them."""
        for generation in self._all():
            generation.tick(now)
            self._listen(generation)
        if self._next is not None and (self._next.ready or self._next.failure):
            self._exchange(self._next)
        elif self._next is None and self._restart_at and now >= self._restart_at:
            self._restart()
        assert self.calls is not None
        serving = {worker.generation for worker in self.calls.pool}
        for generation in [each for each in self._old if each not in serving]:
            generation.stop()
            if generation.stopped:
                self._old.remove(generation)
                self._end(generation)

    def close(self) -> None:
        """Let the API processes flush their queues, for some seconds; then end every process."""
        for generation in self._all():
            generation.stop()
        until = time.monotonic() + _LAST_WRITES
        while not all(each.stopped for each in self._all()) and time.monotonic() < until:
            self._loop.turn(0.1)
        for generation in self._all():
            self._end(generation)

    def _all(self) -> list[Generation]:
        found = [self.current, *self._old]
        return [*found, self._next] if self._next is not None else found

    def _begin(self, settings: Settings) -> Generation:
        self._number += 1
        generation = Generation(
            settings, self._board, self._number, self._log, self._target, follow=self._follow
        )
        generation.look = self._look
        self._listen(generation)
        return generation

    def _look(self, wire: Mapping[str, Any]) -> None:
        if self.calls is not None:
            self.calls.look(wire)

    def _restart(self) -> None:
        """Start a generation to replace the one whose template ended."""
        self._restart_at = 0.0
        try:
            self._next = self._begin(self.current.settings)
        except CNIError as error:
            self._not_restarted(str(error))

    def _not_restarted(self, why: str) -> None:
        """Refuse calls, with the reason, until a retry succeeds."""
        self._log.error("cannot start another template process", error=why, seconds=self._pause)
        self._restart_soon()
        assert self.calls is not None
        self.calls.pool.refusal = why

    def _restart_soon(self) -> None:
        self._restart_at = time.monotonic() + self._pause
        self._pause = min(max(_FIRST_PAUSE, 2 * self._pause), _LONGEST_PAUSE)

    def _exchange(self, new: Generation) -> None:
        """The next generation is ready or has failed: use it or drop it."""
        self._next = None
        waiting, self._waiting = self._waiting, []
        broken = [why for name, why in new.broken.items() if name not in self.current.broken]
        if broken and not self.current.dead:
            new.failure = f"not loaded: {'; '.join(broken)}: fix it or uninstall it"
        if new.failure:
            self._end(new)
            if self.current.dead:
                self._not_restarted(new.failure)
            else:
                self._log.error("cannot reload", error=new.failure)
        else:
            before, self.current = self.current, new
            self._restart_at, self._serves_since = 0.0, time.monotonic()
            self._old.append(before)
            before.retired = True
            assert self.calls is not None
            self.calls.generation = new
            self.calls.pool.retire(before)
            self.calls.pool.refusal = ""
            self._log.level = Log.from_conf(new.settings.log).level
            self._log.verbose("reloaded", config=new.settings.path)
        for told in waiting:
            told(new.failure)
        again, self._again = self._again, []
        for told in again:
            self.reload(told)

    def _listen(self, generation: Generation) -> None:
        """Add a generation's new channels to the loop, and remove its closed ones."""
        now = {id(each): each for each in generation.channels}
        for key, (channel, of) in list(self._listening.items()):
            if of is generation and key not in now:
                del self._listening[key]
                self._loop.remove(channel)
        for key, channel in now.items():
            if key not in self._listening:
                self._listening[key] = channel, generation
                self._loop.add(channel, self._hearing(generation, channel))

    def _hearing(self, generation: Generation, channel: Channel) -> Callable[[], None]:
        def hear() -> None:
            try:
                packet = generation.heard(channel)
            except Closed:
                self._template_ended(generation)
                return
            if packet is not None and self.calls is not None:
                self.calls.pool.forked(packet)
                self.calls.pump()
            self._listen(generation)

        return hear

    def _template_ended(self, generation: Generation) -> None:
        """A template ended, and with it the workers that it forked."""
        was_ready, generation.ready, generation.dead = generation.ready, False, True
        self._listen(generation)
        if generation is self.current and was_ready:
            if self.calls is not None and self.calls.dispensable:
                self._log.error("the template process ended, and this engine with it")
                self.calls.give_up()
                return
            self._log.error("the template process ended: it is restarted")
            if time.monotonic() - self._serves_since > _LONG:
                self._pause = 0.0
            self._restart_soon()
        elif not generation.failure:
            where = generation.loading or "the loading of the plugins"
            generation.failure = f"the template process ended in {where}"

    def _unlisten(self, generation: Generation) -> None:
        for key, (channel, of) in list(self._listening.items()):
            if of is generation:
                del self._listening[key]
                self._loop.remove(channel)

    def _end(self, generation: Generation) -> None:
        self._unlisten(generation)
        generation.close()
