"""How many processes should teach, and what that gains over a synchronous run: arithmetic, and a simulation of luck.

Per clip a process needs S seconds to learn and T to label; less where it is alone in its role, and meets nobody to
exchange gradients with. k of the labels survive admission, each is trained on R times. Clips trained per second by N
processes:

    synchronous     N / (S + T)                    every process labels, then learns, and waits for the slowest
    split           min(s / S, k R t / T)          s students and t teachers, s + t = N, a device each
    shared          N / (S + T / k)                a teacher and a student on each of N devices

At equal work (k = R = 1) no split beats the synchronous run by much: there are no operations to save, only meetings. A
split of few processes loses where neither side can be made of a fraction of one. What asynchrony gains comes from reuse,
from waiting for nobody, and from devices that could not train but can teach. Sharing never reuses: while labels are
wanted a teacher gets its half of the device, and fresh labels go first.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsal_dist.errors import ConfigError

WORTH = 1.05
"""A gain below this is not worth a second role: measurements are not better than that."""
BACKLOG_STEPS = 8
"""Steps for which labels may lie in store in the simulation."""


@dataclass(frozen=True)
class Costs:
    """Seconds of one process for one clip, in a role of several that meet at every step."""

    student_s: float
    """Learning from it, labelled frames and all upkeep included."""
    teacher_s: float
    """Labelling it, with all views, and absorbing the student."""
    lone: "Costs | None" = None
    """Of a process that is alone in its role, which exchanges no gradients and waits for no peer; the same if unknown."""

    def __post_init__(self) -> None:
        if min(self.student_s, self.teacher_s) <= 0:
            raise ConfigError(f"A clip costs {self}; both must be more than nothing. Measure again.")

    def learning_s(self, students: int) -> float:
        """One of so many students."""
        return (self.lone if self.lone and students == 1 else self).student_s

    def labelling_s(self, teachers: int) -> float:
        """One of so many teachers."""
        return (self.lone if self.lone and teachers == 1 else self).teacher_s


@dataclass(frozen=True)
class Luck:
    """How processes differ in speed."""

    cv: float = 0.0
    """Coefficient of variation of the time of any piece of work, which is lognormal."""
    slow: float = 1.0
    """How many times longer the last process takes, for a machine that is slower than the others."""


@dataclass(frozen=True)
class Split:
    """Who does what."""

    students: int
    teachers: int
    shared: bool = False
    """Whether each student has its device together with a teacher."""

    def words(self) -> str:
        if not self.teachers:
            return "synchronous"
        teachers = f"{self.teachers} teacher{'s' if self.teachers > 1 else ''}"
        students = f"{self.students} student{'s' if self.students > 1 else ''}"
        return f"{teachers} + {students}" + (", sharing devices" if self.shared else "")


@dataclass(frozen=True)
class Forecast:
    """What to expect of a split."""

    split: Split
    reuse: int
    clips_per_s: float
    gain: float
    """Over the synchronous run on as many devices."""
    student_busy: float
    """Share of the time in which students have what they need."""

    @property
    def worthwhile(self) -> bool:
        return self.gain >= WORTH


@dataclass(frozen=True)
class Prediction:
    """A gain that was announced, and what it turned out to be."""

    name: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """How far the announcement was above what came."""
        return self.predicted / self.measured - 1

    def line(self, aim: float) -> str:
        verdict = "meets" if abs(self.error) <= aim else "MISSES"
        return (
            f"plan, {self.name}: predicted {self.predicted:.2f}, measured {self.measured:.2f}, {self.error:+.0%}, "
            f"{verdict} {aim:.0%}"
        )


def synchronous_rate(costs: Costs, procs: int) -> float:
    """Clips per second of a run in which every process plays both roles."""
    return procs / (costs.student_s + costs.teacher_s)


def split_rate(costs: Costs, split: Split, reuse: int = 1, keep: float = 1.0) -> float:
    """Clips per second of an asynchronous run, where nobody is slower than anybody else."""
    if split.shared:
        return split.students / (costs.student_s + costs.teacher_s / keep)
    learnt = split.students / costs.learning_s(split.students)
    return min(learnt, keep * reuse * split.teachers / costs.labelling_s(split.teachers))


def ideal_gain(costs: Costs, reuse: int = 1, keep: float = 1.0) -> float:
    """What a split into any fractions would gain; what many processes come close to."""
    return (costs.student_s + costs.teacher_s) / (costs.student_s + costs.teacher_s / (keep * reuse))


def forecast(
    costs: Costs, split: Split, reuse: int = 1, keep: float = 1.0, luck: Luck | None = None, steps: int = 2000
) -> Forecast:
    """What `split` does, compared with the synchronous run on as many devices under the same luck."""
    procs = split.students if split.shared else split.students + split.teachers
    if luck is None:
        rate, usual = split_rate(costs, split, reuse, keep), synchronous_rate(costs, procs)
    else:
        usual = simulate_synchronous(costs, procs, luck, steps)
        rate = simulate_split(costs, split, luck, reuse, keep, steps)
    learning_s = costs.learning_s(split.students)
    return Forecast(split, reuse, rate, rate / usual, min(1.0, rate * learning_s / split.students))


def best_split(
    costs: Costs, procs: int, reuse: int = 1, keep: float = 1.0, luck: Luck | None = None
) -> Forecast:
    """The split of `procs` processes that trains most clips per second; of equals the one with most students."""
    if procs < 2:
        raise ConfigError(f"{procs} process cannot be split into two roles. Plan with --procs 2 or more.")
    if not 0 < keep <= 1 or reuse < 1:
        raise ConfigError(
            f"The keep rate is a share (0 < keep <= 1) and reuse at least 1, not {keep} and {reuse}."
        )
    options = [
        forecast(costs, Split(procs - teachers, teachers), reuse, keep, luck) for teachers in range(1, procs)
    ]
    return max(options, key=lambda option: option.clips_per_s)


def simulate_synchronous(costs: Costs, procs: int, luck: Luck, steps: int = 2000, seed: int = 0) -> float:
    """Clips per second where all ranks meet after labelling and again after learning. Luck is in work, not in meetings."""
    rng = np.random.default_rng(seed)
    alone = costs.lone or costs
    meeting_s = costs.student_s + costs.teacher_s - alone.student_s - alone.teacher_s
    speed = _slowness(procs, luck)
    label = (_draw(rng, luck, (steps, procs)) * speed).max(axis=1) * alone.teacher_s
    learn = (_draw(rng, luck, (steps, procs)) * speed).max(axis=1) * alone.student_s
    return float(steps * procs / (label + learn + meeting_s).sum())


def simulate_split(
    costs: Costs,
    split: Split,
    luck: Luck,
    reuse: int = 1,
    keep: float = 1.0,
    steps: int = 2000,
    seed: int = 0,
) -> float:
    """Clips per second of students that meet at every step, beside teachers that meet nobody.

    The global batch is that of the synchronous run. A teacher parks while labels for BACKLOG_STEPS steps are in store.
    """
    if split.shared:
        raise ConfigError("Processes that share a device are not simulated: who gets it is up to the system.")
    rng = np.random.default_rng(seed)
    procs = split.students + split.teachers
    speed = _slowness(procs, luck)
    batch = procs / split.students
    learning_s, labelling_s = costs.learning_s(split.students), costs.labelling_s(split.teachers)
    alone_s = (costs.lone or costs).student_s
    slowest = (_draw(rng, luck, (steps, split.students)) * speed[: split.students]).max(axis=1)
    learn = slowest * alone_s + learning_s - alone_s
    uses = batch * keep * reuse  # that one call of a teacher adds to the store
    finish = [
        (float(labelling_s * batch * speed[rank] * _draw(rng, luck, ())), rank)
        for rank in range(split.students, procs)
    ]
    heapq.heapify(finish)
    parked: list[int] = []
    now = store = begun = 0.0
    for step in range(steps):
        if step == steps // 5:
            begun = now  # the first fifth fills the store
        while store < procs or (finish and finish[0][0] <= now):
            done, rank = heapq.heappop(finish)
            now = max(now, done)
            store += uses
            if store >= BACKLOG_STEPS * procs:
                parked.append(rank)
            else:
                again = labelling_s * batch * speed[rank] * float(_draw(rng, luck, ()))
                heapq.heappush(finish, (done + again, rank))
        store -= procs
        now += batch * float(learn[step])
        if store < BACKLOG_STEPS * procs:
            for rank in parked:
                again = labelling_s * batch * speed[rank] * float(_draw(rng, luck, ()))
                heapq.heappush(finish, (now + again, rank))
            parked.clear()
    return float((steps - steps // 5) * procs / (now - begun))


def _slowness(procs: int, luck: Luck) -> NDArray[np.float64]:
    slowness = np.ones(procs)
    slowness[-1] = luck.slow
    return slowness


def _draw(rng: np.random.Generator, luck: Luck, shape: Sequence[int]) -> NDArray[np.float64]:
    """Lognormal factors of mean one."""
    sigma = np.sqrt(np.log1p(luck.cv**2))
    return np.asarray(rng.lognormal(-(sigma**2) / 2, sigma, tuple(shape)))
