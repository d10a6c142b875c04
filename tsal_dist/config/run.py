"""The whole run, and the rules that span its sections, as far as settings alone can break them: what also needs the method,
the shards or the processes is checked where these are known."""

import re

from pydantic import Field

from tsal_dist.address import is_url, shown
from tsal_dist.config.data import DataConfig
from tsal_dist.config.method import ALONE, MethodConfig
from tsal_dist.config.model import ModelConfig
from tsal_dist.config.runtime import RuntimeConfig
from tsal_dist.config.section import Section
from tsal_dist.config.train import TrainConfig
from tsal_dist.errors import ConfigError


class OutputConfig(Section):
    """Where a run lives."""

    dir: str = ""
    """The run directory, a path that every process sees; "" means runs/<name>."""

    name: str = Field("", pattern=r"^[\w.-]*$")
    """A run's name, of letters, digits, `_`, `.` and `-`; "" takes the name of the last config file."""


def name_after(place: str) -> str:
    """A run's name after a file or a folder, whose own may have a space in it."""
    return re.sub(r"[^\w.-]+", "-", place)


class RunConfig(Section):
    """Everything that decides what a run does."""

    run: OutputConfig = OutputConfig()
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    method: MethodConfig = MethodConfig()
    train: TrainConfig = TrainConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @property
    def uses_clips(self) -> bool:
        """Whether anything is learnt from unlabelled clips."""
        return (
            self.method.name != ALONE and self.train.loss.unlabelled > 0 and self.train.unlabelled_batch > 0
        )

    @property
    def pseudo_batch(self) -> int:
        """Pseudo-labelled frames per student process and step."""
        return self.train.unlabelled_batch if self.uses_clips else 0

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher takes part, or only students: by their method, or because the labels are there already."""
        return self.uses_clips and not (self.runtime.replay or self.runtime.offline)

    @property
    def mirrors_to_the_end(self) -> bool:
        """Whether the student sees mirror images in its last steps, too."""
        return self.data.hard.flip_prob > 0 and self.train.mirrored_steps == self.train.steps

    @property
    def takes_turns(self) -> bool:
        """Whether both roles keep the fixed schedule, in which nothing may depend on a clock."""
        return self.runtime.topology == "inline" or self.runtime.lockstep

    def evaluates_after(self, step: int) -> bool:
        """Whether the student is measured on held-out frames once it has come to this step."""
        return bool(self.data.validation) and self._falls_on(step, self.runtime.log.evaluate_every)

    def saves_after(self, step: int) -> bool:
        """Whether it is saved there. What was measured is always saved: the best checkpoint is the best that was measured."""
        return self._falls_on(step, self.runtime.checkpoint.every) or self.evaluates_after(step)

    def _falls_on(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.train.steps


def check_sections(config: RunConfig) -> None:
    """Raise ConfigError for values that are fine alone and wrong together."""
    _check_places(config)
    _check_batches(config)
    _check_queue(config)
    _check_deadlines(config)
    _check_topology(config)


def _check_places(config: RunConfig) -> None:
    """Python takes a URL for the name of a local folder, and would train into it."""
    runtime = config.runtime
    places = {
        "run.dir": config.run.dir,
        "data.cache_dir": config.data.cache_dir,
        "model.weights": config.model.weights,
        "runtime.replay": runtime.replay,
        "runtime.fork": runtime.fork,
        "runtime.teacher.deepspeed_file": runtime.teacher.deepspeed_file,
        "runtime.student.deepspeed_file": runtime.student.deepspeed_file,
        **{f"runtime.offline[{number}]": run for number, run in enumerate(runtime.offline)},
    }
    for key, place in places.items():
        if is_url(place):
            raise ConfigError(
                f"{key} is {shown(place)!r}, and it must be a path of a filesystem that every process sees: only shards "
                f"are read from object stores. Use a mounted folder, and copy finished runs from there."
            )


def _check_batches(config: RunConfig) -> None:
    train, data = config.train, config.data
    if train.burn_in_steps > train.steps:
        raise ConfigError(
            f"train.burn_in_steps ({train.burn_in_steps}) is more than train.steps ({train.steps}), so no "
            f"pseudo-label would ever count. Lower burn_in_steps or raise steps."
        )
    if train.loss.ramp_up + train.loss.ramp_down > 1:
        raise ConfigError(
            f"train.loss.ramp_up ({train.loss.ramp_up}) + ramp_down ({train.loss.ramp_down}) is more than the "
            f"whole run (1). Lower one of them."
        )
    if train.unlabelled_batch % data.clip_frames:
        raise ConfigError(
            f"train.unlabelled_batch ({train.unlabelled_batch}) is not a multiple of data.clip_frames "
            f"({data.clip_frames}): whole clips are trained on. Use "
            f"{max(1, round(train.unlabelled_batch / data.clip_frames)) * data.clip_frames}."
        )
    shared = sorted(set(data.validation) & {*data.labelled, *data.unlabelled})
    if shared:
        raise ConfigError(
            f"data.validation shares {shared[0]!r} with the training shards, so its scores would mean nothing. "
            f"Pack a split of its own."
        )
    for role in ("student", "teacher"):
        pieces = getattr(config.runtime, role).accumulate
        clips = train.unlabelled_batch // data.clip_frames
        for key, count, unit in (
            ("labelled_batch", train.labelled_batch, 1),
            ("unlabelled_batch", clips, data.clip_frames),
        ):
            if count % pieces:
                raise ConfigError(
                    f"train.{key} ({count * unit}) cannot be cut into runtime.{role}.accumulate ({pieces}) equal pieces of "
                    f"whole clips. Use {max(1, count // pieces) * pieces * unit}, or another accumulate."
                )


def _check_queue(config: RunConfig) -> None:
    queue = config.runtime.queue
    if queue.low_water_rows >= queue.high_water_rows:
        raise ConfigError(
            f"runtime.queue.low_water_rows ({queue.low_water_rows}) must be below high_water_rows "
            f"({queue.high_water_rows}), or a parked teacher never goes on. Lower the first."
        )
    if queue.segment_rows > queue.high_water_rows:
        raise ConfigError(
            f"runtime.queue.segment_rows ({queue.segment_rows}) is more than high_water_rows "
            f"({queue.high_water_rows}), so the first segment would already park the teacher. Lower the first."
        )


def _check_deadlines(config: RunConfig) -> None:
    limits = config.runtime.deadlines
    order = ("poll_s", "silent_s", "group_s", "shutdown_s", "grace_s")
    for inner, outer in zip(order, order[1:], strict=False):
        if getattr(limits, inner) >= getattr(limits, outer):
            raise ConfigError(
                f"runtime.deadlines.{inner} ({getattr(limits, inner)}) must be below {outer} "
                f"({getattr(limits, outer)}): the inner wait has to end first to be able to say who was awaited. "
                f"Lower {inner} or raise {outer}."
            )


def _check_topology(config: RunConfig) -> None:
    runtime = config.runtime
    if runtime.replay and runtime.offline:
        raise ConfigError(
            f"Both runtime.replay ({runtime.replay!r}) and runtime.offline ({list(runtime.offline)}) are set. A run is "
            f"trained by another run's plans, or learns from its labels in an order of its own: choose one."
        )
    if (runtime.replay or runtime.offline) and not config.uses_clips:
        raise ConfigError(
            f"method.name is {config.method.name!r} and train.loss.unlabelled {config.train.loss.unlabelled:g}, so nothing "
            f"would be learnt from the other run's labels. Choose a method that does, such as method.name=tsal."
        )
    if runtime.role and runtime.topology != "detached":
        raise ConfigError(
            f"runtime.role is {runtime.role!r}, but runtime.topology is {runtime.topology!r}: only `detached` "
            f"starts one role alone. Remove the role or set runtime.topology=detached."
        )
    if runtime.crew and runtime.role != "teacher":
        raise ConfigError(
            f"runtime.crew is {runtime.crew!r}, but runtime.role is {runtime.role!r}: only teachers work in several crews. "
            f"Set runtime.topology=detached and runtime.role=teacher with it, or start the crew by `--crew {runtime.crew}` "
            f"of a launcher."
        )
    if runtime.lockstep and runtime.topology == "detached":
        raise ConfigError(
            "runtime.lockstep is set with runtime.topology = 'detached', where a role may go on without the other. "
            "Use topology 'split'."
        )
    if runtime.topology == "inline" and "deepspeed" in (runtime.teacher.kind, runtime.student.kind):
        raise ConfigError(
            "runtime.topology is 'inline' with a DeepSpeed engine: DeepSpeed keeps one engine per process, and "
            "inline holds two. Use engine kind 'ddp', or topology 'split'."
        )
