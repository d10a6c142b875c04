"""How a run reaches processes: topology, engines, queue, weights, checkpoints, deadlines."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from tsal_dist.config.section import Section
from tsal_dist.run_dir import CREW

# A number may be written without quotes: `runtime.teachers=2`.
Spec = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)]


class EngineConfig(Section):
    """How a role takes an optimiser step."""

    kind: Literal["ddp", "deepspeed"] = "ddp"
    """`deepspeed` needs the extra of that name."""

    zero_stage: int = Field(0, ge=0, le=3)
    """DeepSpeed's ZeRO stage."""

    deepspeed_file: str = ""
    """The user's own DeepSpeed JSON, merged over the generated one."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """`bfloat16` runs the forward pass under autocast; master weights stay float32."""

    accumulate: int = Field(1, ge=1)
    """Pieces that a step's batch is cut into to save memory. The step learns from the whole batch either way; of terms
    over visible points it takes the mean of the pieces' means."""

    channels_last: bool = False
    """Memory format that convolutions on recent hardware prefer."""

    compile: bool = False
    """torch.compile the detector; pays off after minutes, not in a test."""

    batch_norm: Literal["own", "sync", "frozen"] = "own"
    """Of detectors that have batch norms, in a role of several ranks: `own` averages each rank's statistics before they
    leave the role, `sync` shares them at every step (GPUs only), `frozen` keeps those the run starts with."""


class NumericsConfig(Section):
    """How exact arithmetic is, in every process of a run."""

    tf32: bool = True
    """On GPUs that have it, convolutions round the factors of float32 products to 10 bits; off is slower and exact. Points are
    never rounded."""

    deterministic: bool = False
    """Only algorithms that give the same bits again; slower on GPUs, and an error where there is none."""


class QueueConfig(Section):
    """The parquet queue between the roles."""

    segment_rows: int = Field(256, ge=1)
    """A segment is flushed when it holds this many rows."""

    segment_age_s: float = Field(5.0, gt=0)
    """... or when its oldest row is this old."""

    high_water_rows: int = Field(4096, ge=1)
    """A teacher parks when this many of its rows wait untrained."""

    low_water_rows: int = Field(1024, ge=0)
    """... and goes on when this few do."""

    max_lag_steps: int = Field(0, ge=0)
    """Rows whose teacher knew the student this many steps ago or longer are dropped; 0 leaves the bound to
    `max_rho`."""

    max_rho: float = Field(0.5, gt=0, le=1)
    """Rows are dropped when an averaging teacher has moved by more than this share since."""

    max_reuse: int = Field(2, ge=1)
    """How often one row may be trained on."""

    collect: bool = True
    """Delete the oldest of what no kept checkpoint needs once there is more of it than `keep_gb`. Off keeps the whole
    log, which is a data set of its own: reports, exports and replays read it."""

    keep_gb: float = Field(20.0, ge=0)
    """Gigabytes of label segments that stay although no kept checkpoint needs them; as many are left to the log of
    plans."""

    on_starvation: Literal["reuse", "supervised", "wait", "abort"] = "reuse"
    """What the student does without fresh rows: `reuse` trains on admitted ones again, then on labels alone."""

    @field_validator("on_starvation", mode="before")
    @classmethod
    def _is_spelt_as_now(cls, value: Any) -> Any:
        if value == "replay":
            raise ValueError("'replay' is called 'reuse' now; `--replay-plan` trains by another run's plans")
        return value


class WeightsConfig(Section):
    """Model versions between the roles."""

    publish_every: int = Field(20, ge=1)
    """Student steps between two published snapshots: fewer than labels may be old (`runtime.queue.max_rho`,
    `max_lag_steps`), or there are steps for which no label can be young enough."""

    keep: int = Field(8, ge=2)
    """Published versions that stay on disk."""


class CheckpointConfig(Section):
    """What survives."""

    every: int = Field(500, ge=1)
    """Student steps between two checkpoints; there is one after each evaluation, too (`runtime.log.evaluate_every`)."""

    keep: int = Field(2, ge=1)
    """Newest checkpoints that stay, besides the best by validation."""


class DeadlinesConfig(Section):
    """Seconds after which waiting becomes an error that names who was awaited. All but beat_s and meet_s must increase."""

    poll_s: float = Field(0.5, gt=0)
    """How often files of the other role are looked at while waiting."""

    beat_s: float = Field(1.0, gt=0)
    """How often a role's first rank shows a sign of life. Its other ranks, for which nobody waits, take ten times as
    long; nobody takes longer than a sixth of `silent_s`."""

    silent_s: float = Field(60.0, gt=0)
    """A role without a heartbeat for this long is lost."""

    meet_s: float = Field(1800.0, gt=0)
    """How long a role waits for the other at its start: machines may come one by one. A student that had a teacher before
    waits `silent_s`, and goes on without."""

    group_s: float = Field(300.0, gt=0)
    """Timeout of a collective within a role."""

    shutdown_s: float = Field(420.0, gt=0)
    """Time to checkpoint and leave after a signal."""

    grace_s: float = Field(600.0, gt=0)
    """What the scheduler grants between its signal and its kill."""


class LogConfig(Section):
    """What is written while training."""

    every: int = Field(20, ge=1)
    """Steps between two lines of metrics."""

    evaluate_every: int = Field(1_000, ge=1)
    """Student steps between two evaluations on the validation shards."""

    profile: int = Field(0, ge=0)
    """Steps of student 0 that torch's profiler watches, after the first ten; what `--profile` sets. A trace and a page come
    to lie in `profile/` of the run."""

    tensorboard: bool = False
    """Also write TensorBoard events; needs the extra `report`."""

    wandb: bool = False
    """Also tell Weights & Biases, a run for each role in one group; needs the extra of that name, and what
    `wandb login` or WANDB_API_KEY says. `WANDB_MODE=offline` keeps it in `metrics/wandb/` for `wandb sync`."""

    mlflow: bool = False
    """Also tell the MLflow server that MLFLOW_TRACKING_URI names, one run for both roles; needs the extra of that
    name."""

    project: str = Field("tsal_dist", pattern=r"^[\w.-]{1,128}$")
    """W&B's project and MLflow's experiment."""


class RuntimeConfig(Section):
    """Processes and the files between them."""

    topology: Literal["split", "detached", "inline"] = "split"
    """`split` divides one torchrun world into roles, `detached` gives each role its own torchrun, `inline`
    runs both roles in turn in one process."""

    teachers: Spec = Field("1", pattern=r"^(\d+|0?\.\d+|node)$")
    """Teacher processes in `split`: a count, a share of the world, or `node` for one per node."""

    role: Literal["", "teacher", "student"] = ""
    """In `detached`: which role this torchrun is."""

    crew: str = Field("", pattern=rf"^({CREW})?$")
    """In `detached`, for a teacher's torchrun: the name of a further crew of teachers, which works beside those without
    a name. Crews need nothing of each other; each has its own files, checkpoints and order of clips."""

    teacher_cycle: int = Field(1, ge=1)
    """In `inline` and in lockstep: student steps per teacher cycle."""

    lockstep: bool = False
    """In `split`: follow the fixed schedule of `inline`, each role waiting for the other. The weights come out as
    there, to the bit on a CPU with equally many threads; a proof, not a way to train."""

    replay: str = ""
    """A finished run whose plans and label segments this student is trained with again, row for row, without a
    teacher; what `--replay-plan` sets."""

    offline: tuple[str, ...] = ()
    """Runs whose label logs this student learns from, without a teacher, however old the labels are; what `--offline`
    sets."""

    fork: str = ""
    """A run that this one begins from: with its student's weights, and with optimiser, average and what the method
    remembers where they fit; what `--from` sets. `model.weights` is for the parts of a method that find none there."""

    fork_step: Spec = Field("last", pattern=r"^(last|best|\d+)$")
    """Which of its checkpoints: `last`, `best` by validation, or a step; what `--step` sets."""

    label_batch: int = Field(64, ge=1)
    """Frames that a teacher looks at in one pass, in whole clips: what its memory is bounded by. A segment holds
    `queue.segment_rows` of them, whatever this is."""

    teacher: EngineConfig = EngineConfig()
    student: EngineConfig = EngineConfig()
    numerics: NumericsConfig = NumericsConfig()
    queue: QueueConfig = QueueConfig()
    weights: WeightsConfig = WeightsConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    deadlines: DeadlinesConfig = DeadlinesConfig()
    log: LogConfig = LogConfig()
