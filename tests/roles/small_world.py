"""Both roles in one thread, on stores in memory, by a clock that is moved by hand: hours of a run in milliseconds.

Real are the loops, the schedules, the upkeep, the heartbeats, the handshake, the claims, the queue with its producers,
planner, cursor and credits, the gate, the usage counts and the config. What a role computes is a number
(`counting_roles`). A step, an absorbed version and a segment take the time that the test says.

The config says how the roles are played: at their own paces, in lockstep, or in turns within the student's process
(inline). A process that is killed leaves what it wrote and nothing else: `run_student` and `start_teacher` build a new
one from it.
"""

from collections import Counter
from functools import partial
from types import SimpleNamespace

from tests.fakes_rows import small_schema
from tests.roles.counting_roles import UNIT, Judge, JudgedNet, SmallStudent, SmallTeacher
from tests.roles.kept_in_memory import MemoryCheckpoints, PlanLines, Versions
from tests.roles.manual_clock import ManualClock
from tsal_dist.config import load_config
from tsal_dist.dist.shutdown import StopFlag
from tsal_dist.errors import StaleRun
from tsal_dist.exchange.beat import NAMES, Heart, Watch, list_crews
from tsal_dist.exchange.fence import Handshake, RunEnd
from tsal_dist.exchange.memory import MemoryStore
from tsal_dist.exchange.store import ensure
from tsal_dist.exchange.tenure import begin_tenure
from tsal_dist.pseudo.consumer import Consumer
from tsal_dist.pseudo.credits import Credits
from tsal_dist.pseudo.planner import Planner
from tsal_dist.pseudo.producer import Producer
from tsal_dist.pseudo.staleness import Staleness
from tsal_dist.pseudo.topic import open_topic, producer_name
from tsal_dist.roles.inline import Beside
from tsal_dist.roles.lockstep import Called, Caller, resume_point
from tsal_dist.roles.peers import STUDENT_PEER, TEACHER_PEER, NoTeacher, SignOfLife, WatchedTeachers
from tsal_dist.roles.plan_finder import PlanFinder
from tsal_dist.roles.student_loop import OwnPace, StudentLoop
from tsal_dist.roles.student_upkeep import StudentUpkeep
from tsal_dist.roles.teacher_loop import TeacherLinks, go_round
from tsal_dist.run_dir import DONE, role_in_files

ROWS = 8
"""What a step wants."""
SETTINGS = (
    "method.name=tsal",
    "train.steps=40",
    "train.burn_in_steps=4",
    f"train.unlabelled_batch={ROWS}",
    f"data.clip_frames={UNIT}",
    "train.gate.enabled=false",
    "runtime.queue.segment_rows=8",
    "runtime.queue.high_water_rows=32",
    "runtime.queue.low_water_rows=16",
    "runtime.queue.max_lag_steps=20",
    "runtime.weights.publish_every=2",
    "runtime.checkpoint.every=10",
    "runtime.deadlines.silent_s=30",
    "runtime.deadlines.group_s=40",
    "runtime.deadlines.shutdown_s=60",
    "runtime.deadlines.grace_s=100",
)


class Dead(BaseException):
    """Raised in a teacher's part: its process dies there, and no other."""


class TellingLife(SignOfLife):
    """Remembers every phase that it was told, with the time."""

    def __init__(self, heart, require_current, clock, said):
        super().__init__(heart, require_current, clock, 1.0)
        self._now_s, self._said = clock.now_s, said

    def show(self, phase, step, besides=lambda: None):
        self._said.append((self._now_s(), phase))
        super().show(phase, step, besides)

    def leave(self):
        """Say goodbye, as a process does at its end."""
        self._heart.beat(DONE, 0)


class Saved(dict):
    """A place for the checkpoints of each role, made when it is first asked for."""

    def __init__(self, world):
        self._world = world

    def __missing__(self, role):
        self[role] = MemoryCheckpoints(before_save=partial(self._world.spend, f"save the {role}", 0.0))
        return self[role]


class World:
    """One run's files and clock, and the processes that work on it."""

    step_s, quick_s, absorb_s, label_s = 1.0, 1.0, 0.1, 0.5

    def __init__(self, *overrides, store=None, queue=None, ahead=0):
        self.config = load_config([], [*SETTINGS, *overrides])
        self.clock, self.ahead = ManualClock(), ahead
        self.evaluate_s = {"student": 0.2, "teacher": 0.2}
        self.store, self.queue = store or MemoryStore(), queue or MemoryStore()
        bounds = self.config.runtime.queue
        self.staleness = Staleness(0.999, bounds.max_rho, bounds.max_lag_steps)
        self.plans, self.versions = PlanLines(), Versions(partial(self.spend, "publish", 0.0))
        self.saved = Saved(self)
        self.lessons, self.student_stop = {}, StopFlag()
        """What each step of the surviving history was trained on: the label rows and their teacher's version."""
        self.teachers, self.phases, self.absorbed = [], {}, []
        self._times, self._during = Counter(), {}
        open_topic(self.queue, small_schema(UNIT), "run")
        RunEnd(self.store)
        for peer in (STUDENT_PEER, TEACHER_PEER):
            ensure(self.store, NAMES.hello(*peer).as_posix())

    @property
    def inline(self):
        return self.config.runtime.topology == "inline"

    @property
    def took(self):
        """How many label rows each step was trained on."""
        return {step: len(lesson) for step, lesson in self.lessons.items()}

    def spend(self, what, seconds):
        """A part does `what` for so long. What is to happen during it happens in its middle."""
        self.clock.sleep(seconds / 2)
        self._times[what] += 1
        self._during.pop((what, self._times[what]), lambda: None)()
        self.clock.sleep(seconds / 2)

    def during(self, what, time, act):
        """Once, while `what` is done for the `time`-th time."""
        self._during[what, time] = act

    def start_teacher(self, at=None, crew="", label_s=None):
        """A new process of the teacher, which acts from now on, or from `at` on; its handle to stop or kill it. A `crew`
        with a name works beside the first one, at a pace of its own."""
        handle = SimpleNamespace(stop=StopFlag(), code=None, error=None, actor=None, links=None)

        def turn():
            if handle.links is None:
                handle.links = self.teacher_links(role_in_files("teacher", crew), label_s=label_s)
                handle.links.resume(self.student_step())
                handle.resumed_from = handle.links.teacher.version
                lockstep = self.config.runtime.lockstep
                handle.go_round = (
                    Called(handle.links, self.store).go_round if lockstep else partial(go_round, handle.links)
                )
                return False
            try:
                handle.code = handle.go_round(handle.stop)
            except (StaleRun, Dead) as error:
                handle.error = error
            if handle.code is not None:
                handle.links.life.leave()
            handle.ended_at = self.clock.now
            return handle.code is not None or handle.error is not None

        handle.actor = self.clock.add(turn, at)
        self.teachers.append(handle)
        return handle

    def kill(self, handle):
        """SIGKILL: no goodbye, nothing saved."""
        if handle.actor in self.clock.actors:
            self.clock.actors.remove(handle.actor)

    def run_student(self):
        """A new process of the student, to its end; its exit code."""
        self.student_stop = StopFlag()
        loop = self.student_loop()
        if self.config.runtime.lockstep:
            limits = self.config.runtime.deadlines
            self.student_hello.meet([TEACHER_PEER], limits.silent_s, limits.poll_s)
        code = loop.run()
        self._student_life.leave()
        self.clock.sleep(5.0)  # so that a teacher sees the end
        return code

    def student_loop(self):
        """One whose process has just begun; inline with the teacher's part in it."""
        roles = ("teacher", "student") if self.inline else ("student",)
        turns = [begin_tenure(self.store, role, 0, "run") for role in roles]
        life = self._student_life = self._life("inline" if self.inline else "student", turns)
        peers, schedule = NoTeacher(life, RunEnd(self.store)), OwnPace()
        if not self.inline:
            peers, schedule = self._teacher_elsewhere(life)
        planner, student = self._student()
        upkeep = StudentUpkeep(
            student=student,
            judged=JudgedNet(),
            checkpoints=self.saved["student"],
            publisher=self.versions,
            sink=None,
            validation=None,
            gate_frames=Judge(self, "student", lambda step: self.student_nme(step)),
            newest_step=self._newest_step(),
            wait_for_disk=self.config.takes_turns,
            sign_of_life=lambda phase: (peers.tick(phase, student.step_number), planner.tick()),
        )
        if self.inline:
            schedule = Beside(self.teacher_links(turns=turns, life=life))
        finder = PlanFinder(planner, self.config, 1, peers, self.student_stop, self.clock)
        return StudentLoop(student, upkeep, peers, schedule, finder, self.student_stop)

    def _teacher_elsewhere(self, life):
        """What the student knows of it, and the schedule that both keep."""
        end = RunEnd(self.store)
        end.announce("")
        self.student_hello = self._handshake("student")
        find = partial(list_crews, self.store, "teacher")
        peers = WatchedTeachers(
            life, end, self.student_hello, self.watch(), find, self.clock, list_every_s=5.0
        )
        if self.config.runtime.lockstep:
            return peers, Caller(self.store, self.config, peers, self.clock, self.student_stop)
        return peers, OwnPace()

    def _student(self):
        queue, limits = self.config.runtime.queue, self.config.runtime.deadlines
        topic = open_topic(self.queue, small_schema(UNIT), "run")
        planner = Planner(
            topic,
            "student",
            self.staleness,
            max_reuse=queue.max_reuse if queue.on_starvation == "reuse" else 1,
            discover_s=0 if self.config.takes_turns else limits.poll_s,
            cursor_s=limits.poll_s,
            plan_log=self.plans,
            clock=self.clock.now_s,
        )
        consumer = Consumer(topic, 0, self.staleness, verified=planner.take_verified)
        return planner, SmallStudent(self, planner, consumer, self.ahead)

    def student_step(self):
        """The step that the student resumes from."""
        if self.config.runtime.lockstep:
            return resume_point(self.config, self.saved["student"], self.saved["teacher"])
        return self.saved["student"].latest_committed()

    def _newest_step(self):
        step = self.student_step()
        return None if not self.config.runtime.lockstep else -1 if step is None else step

    def phase_at(self, role, when):
        """What a role was doing then."""
        return [phase for since, phase in self.phases[role] if since <= when][-1]

    def watch(self, peer=TEACHER_PEER):
        """The heartbeat of the other role: the teacher's, as the student sees it."""
        silent_s = self.config.runtime.deadlines.silent_s
        return Watch(self.store, [peer], silent_s, self.clock.now_s)

    def student_nme(self, step):
        """How wrong the student is at a step; tests say otherwise."""
        return 0.1

    def teacher_nme(self, version):
        return 0.1

    def trained_rows(self):
        """(producer, segment, row) of every use in the surviving history, with the number that the plan gives it."""
        return [
            ((part.producer, part.seq, row), part.use)
            for plan in self.plans.surviving()
            for part in plan.ranges()
            for row in range(part.start, part.stop)
        ]

    def assert_whole(self):
        """The history that survived has every step once, and every row not more often than allowed, in turn."""
        steps = [plan.step for plan in self.plans.surviving()]
        train = self.config.train
        assert steps == list(range(train.burn_in_steps, train.steps))
        uses = {}
        for row, use in self.trained_rows():
            uses[row] = uses.get(row, 0) + 1
            assert use == uses[row], f"{row} is used for the {uses[row]}th time and was planned as use {use}"
        most = (
            self.config.runtime.queue.max_reuse if self.config.runtime.queue.on_starvation == "reuse" else 1
        )
        assert max(uses.values(), default=0) <= most

    def teacher_links(self, role="teacher", turns=None, life=None, label_s=None):
        """A new teacher with its connections; inline with the turns and the sign of life of the process that plays both."""
        turns = turns or [begin_tenure(self.store, role, 0, "run")]
        producer, label_s = self._producer(role, turns[0].incarnation), label_s or self.label_s
        return TeacherLinks(
            teacher=SmallTeacher(self, producer, self._rows_at_once, label_s),
            judged=JudgedNet(),
            gate_frames=Judge(self, "teacher", lambda step: self.teacher_nme(step)),
            weights=self.versions,
            checkpoints=self.saved[role],
            clock=self.clock,
            life=life or self._life(role, turns),
            require_current=partial(require_all, turns),
            student=None if self.config.takes_turns else self.watch(STUDENT_PEER),
            handshake=None if self.inline else self._handshake(role),
            end=None if self.inline else RunEnd(self.store),
            sink=None,
        )

    @property
    def _rows_at_once(self):
        """What a teacher labels in one go: a segment; in turns, what the student trains on until its next turn."""
        runtime = self.config.runtime
        return ROWS * runtime.teacher_cycle if self.config.takes_turns else runtime.queue.segment_rows

    def _producer(self, role, incarnation):
        queue, limits = self.config.runtime.queue, self.config.runtime.deadlines
        topic = open_topic(self.queue, small_schema(UNIT), "run")
        credits = None
        if not self.config.takes_turns:
            credits = Credits(
                self.queue,
                producer_name(role, 0, incarnation),
                ["student"],
                queue.high_water_rows,
                queue.low_water_rows,
                limits.silent_s,
                self.clock.now_s,
            )
        return Producer(
            topic,
            role,
            0,
            incarnation,
            max_rows=queue.segment_rows,
            credits=credits,
            clock=self.clock.now_s,
        )

    def _life(self, role, turns):
        heart = Heart(self.store, role, 0, turns[0].incarnation, "host")
        heart.beat("start", 0)
        said = self.phases.setdefault(role, [])
        return TellingLife(heart, partial(require_all, turns), self.clock, said)

    def _handshake(self, role):
        return Handshake(self.store, role, 0, "run", self.clock.now_s, self.clock.sleep)


def require_all(turns):
    """StaleRun where one of these turns is over."""
    for turn in turns:
        turn.require()
