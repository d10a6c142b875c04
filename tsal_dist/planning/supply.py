"""Whether readers and flow can feed the devices of a config: arithmetic over rates that were measured once.

A student rank takes 1 / (learn_s * batch) steps per second if nothing is missing, and its two pools of readers have to
bring a step's labelled and unlabelled frames in that time. A teacher rank labels as fast as its device can, or as fast as
the students use labels up (each `max_reuse` times), whichever is less; for that it needs frames, and flow where that is computed by cores. What
is supplied over what is needed is a share: below 1 a device waits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tsal_dist.config import RunConfig
from tsal_dist.errors import ConfigError
from tsal_dist.json_object import read_object

ENOUGH = 0.9
"""Share of what a device could use from which on nothing is said: rates are not known better than that."""
TOO_LITTLE = 0.5
"""Share below which a device is idle for most of the time, and the config is refused."""


@dataclass(frozen=True)
class Rates:
    """Seconds per frame, as `tsal plan --rates` measures them."""

    read_s: float
    """Of one core: reading a training view of the shards."""
    flow_s: float
    """Of one core: the flow of a pair of neighbours both ways; 0 where a network finds it on the device."""
    learn_s: float
    """Of one device: the student's whole step, data in memory."""
    label_s: float
    """Of one device: a teacher's answers, data in memory, without flow that cores compute."""
    device: str
    """What they were measured on."""

    @staticmethod
    def from_json(page: Mapping[str, Any], where: str) -> "Rates":
        try:
            rates = Rates(**page)
            if not (min(rates.read_s, rates.learn_s, rates.label_s) > 0 and rates.flow_s >= 0):
                raise ValueError("seconds per frame are more than nothing")
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{where} holds no rates ({error}). Measure them: tsal plan --rates {where} --config ..."
            ) from None
        return rates

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def load_rates(file: str) -> Rates:
    try:
        page = read_object(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file} cannot be read as rates ({error}). Measure them: tsal plan --rates {file} --config ..."
        ) from None
    return Rates.from_json(page, file)


@dataclass(frozen=True)
class Supply:
    """One thing that a rank of a role waits for."""

    role: str
    what: str
    cores: int
    """That work for it, of one rank."""
    supplied_per_s: float
    wanted_per_s: float
    remedy: str

    @property
    def share(self) -> float:
        return self.supplied_per_s / self.wanted_per_s

    def words(self) -> str:
        cores = f"{self.cores} cores give" if self.cores > 1 else "one core gives"
        return (
            f"a {self.role} could use {self.wanted_per_s:,.0f} {self.what} per second, and {cores} "
            f"{self.supplied_per_s:,.0f} ({self.share:.0%}). {self.remedy}"
        )


def find_supplies(
    config: RunConfig, rates: Rates, students: int, teachers: int, tracks: bool = True
) -> list[Supply]:
    """Every stream of frames and flow that a device waits for. `tracks`: whether the method asks for flow."""
    labelled, labels = config.train.labelled_batch, config.pseudo_batch
    steps_per_s = 1 / (rates.learn_s * (labelled + labels))
    found = [_frames(config, "student", "labelled frames", rates, steps_per_s * labelled)]
    if labels:
        found.append(_frames(config, "student", "pseudo-labelled frames", rates, steps_per_s * labels))
    if not (labels and teachers):
        return found
    queue = config.runtime.queue
    uses = queue.max_reuse if queue.on_starvation == "reuse" else 1
    wanted_per_s = min(1 / rates.label_s, steps_per_s * labels * students / teachers / uses)
    found.append(_frames(config, "teacher", "frames to label", rates, wanted_per_s))
    pairs_share = 1 - 1 / config.data.clip_frames  # a lone frame has no neighbour
    if tracks and rates.flow_s and pairs_share:
        threads = max(1, config.model.tracker.threads)
        found.append(
            Supply(
                "teacher",
                "flows of neighbours",
                threads,
                threads / rates.flow_s,
                wanted_per_s * pairs_share,
                "Set model.tracker.kind=pwc, which runs on the device, or raise model.tracker.threads.",
            )
        )
    return found


def check_supplies(supplies: list[Supply]) -> list[str]:
    """What to say of supplies that are short; ConfigError where a device would be idle for most of the time."""
    starving = [one for one in supplies if one.share < TOO_LITTLE]
    if starving:
        worst = min(starving, key=lambda one: one.share)
        raise ConfigError(f"This config starves its devices: {worst.words()}")
    return [one.words() for one in supplies if one.share < ENOUGH]


def _frames(config: RunConfig, role: str, what: str, rates: Rates, wanted_per_s: float) -> Supply:
    cores = max(1, config.data.workers)
    return Supply(
        role,
        what,
        cores,
        cores / rates.read_s,
        wanted_per_s,
        "Raise data.workers, or pack the faces alone (`tsal pack --crop`), which are cheaper to read.",
    )


def describe_supplies(supplies: list[Supply]) -> Iterator[dict[str, Any]]:
    for one in supplies:
        yield asdict(one) | {"share": round(one.share, 3)}
