"""Every kind of injury by its name: what the schedule plans, and what is done then."""

import random
from collections.abc import Callable

from tools.soak import intrusions
from tools.soak.injuries import SHORT_STALL_S, FaultInjector, cut_file, flip_bit, punch_hole

ACTS: dict[str, Callable[[FaultInjector, random.Random], str]] = {
    "kill a student": lambda injector, rng: injector.kill(injector.run.student, rng),
    "kill a teacher": lambda injector, rng: injector.kill(injector.run.teacher, rng),
    "kill both roles": FaultInjector.kill_both,
    "ask the student to leave": lambda injector, _: injector.ask(injector.run.student),
    "ask the teacher to leave": lambda injector, _: injector.ask(injector.run.teacher),
    "wake a zombie": intrusions.wake_a_zombie,
    "change the shards": intrusions.change_the_shards,
    "start on a stale listing": intrusions.start_on_a_stale_listing,
    "stall the student": lambda injector, rng: injector.stall(
        injector.run.student, rng.uniform(*SHORT_STALL_S)
    ),
    "stall the teacher": lambda injector, rng: injector.stall(
        injector.run.teacher, rng.uniform(*SHORT_STALL_S)
    ),
    "stall the teacher past its deadline": lambda injector, _: injector.stall(
        injector.run.teacher, injector.silent_s + 3
    ),
    "flip a bit": lambda injector, rng: injector.damage(rng, flip_bit),
    "cut a segment": lambda injector, rng: injector.damage(rng, cut_file),
    "punch a hole": lambda injector, rng: injector.damage(rng, punch_hole),
    "tear the log": FaultInjector.tear_log,
    "damage control files": intrusions.damage_control,
    "plant a stranger": intrusions.plant_a_stranger,
    "clean a living run": intrusions.clean_a_living_run,
    "jump the clock": FaultInjector.jump_clock,
    "jump file times": FaultInjector.jump_file_times,
    "fill the disk": FaultInjector.fill,
}


def hurt(injector: FaultInjector, kind: str, dice: int) -> str:
    """Do it and say what was done; NotNow where that is impossible."""
    return ACTS[kind](injector, random.Random(dice))
