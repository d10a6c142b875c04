"""A clock that is moved by hand, and the actors that act by it: hours pass in a moment, in one thread."""

from types import SimpleNamespace


class ManualClock:
    """Time passes where somebody spends it. Whoever is at the top spends everybody's; an actor spends its own.

    What an actor does in a turn is done when the turn begins; then the actor is busy for as long as it took.
    """

    def __init__(self):
        self.now = 0.0
        self.actors = []
        self._acting = None

    def now_s(self):
        return self._acting.free_at if self._acting else self.now

    def sleep(self, seconds):
        if self._acting:
            self._acting.free_at += seconds
        else:
            self._pass(seconds)

    def add(self, turn, at=None):
        """Let `turn` be called whenever the actor is free, until it returns True."""
        actor = SimpleNamespace(turn=turn, free_at=self.now if at is None else at)
        self.actors.append(actor)
        return actor

    def at(self, when, act):
        """Once, at this time."""

        def turn():
            self.actors.remove(actor)
            act()

        actor = self.add(turn, at=when)

    def _pass(self, seconds):
        target = self.now + seconds
        while due := [actor for actor in self.actors if actor.free_at <= target]:
            actor = min(due, key=lambda one: one.free_at)
            self.now = max(self.now, actor.free_at)
            actor.free_at, self._acting = self.now, actor
            try:
                done = actor.turn()
            finally:
                self._acting = None
            actor.free_at = max(actor.free_at, self.now + 1e-3)
            if done and actor in self.actors:
                self.actors.remove(actor)
        self.now = target
