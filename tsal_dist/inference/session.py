"""A trained detector opened for use: from a run or a file of weights, with what was measured of it."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save

from tsal_dist.config import RunConfig
from tsal_dist.data.shard_set import open_cached
from tsal_dist.inference.decoding import PLAIN, Decoding
from tsal_dist.inference.detector import Detector, OnFrame
from tsal_dist.inference.finder import Finder
from tsal_dist.inference.held_out import find_missing, find_named, why_unmeasured
from tsal_dist.inference.looking import look_at_nothing
from tsal_dist.inference.threads import choose_threads
from tsal_dist.inference.trained import Role, Trained, load_trained, load_weights, pick_device
from tsal_dist.inference.trust import Trust, load_trust, measure_trust, save_trust
from tsal_dist.inference.unknown import NOT_EXPORTED, say_unknown
from tsal_dist.run_dir import RunDir


def open_detector(
    run: str | None = None,
    weights: str | None = None,
    role: Role = "student",
    step: str = "best",
    config: RunConfig | None = None,
    threads: int = 0,
    on_frame: OnFrame = lambda done, of: None,
    decoding: Decoding = PLAIN,
) -> Detector:
    """A run's detector, or that of a file of weights."""
    if run is None:
        assert weights is not None
        trained = load_weights(weights, config)
        finder, trust = build_finder(trained, threads, decoding), load_trust(Path(weights))
        unknown = say_unknown(trust, NOT_EXPORTED, finder.num_points)
        return Detector(finder, trust, trained.name, unknown)
    trained = load_trained(run, role, step)
    finder = build_finder(trained, threads, decoding)
    trust, unknown = trust_of_run(finder, trained, Path(run), role, on_frame)
    return Detector(finder, trust, trained.name, unknown)


def build_finder(trained: Trained, threads: int = 0, decoding: Decoding = PLAIN) -> Finder:
    """On the first GPU, or on as many threads as are worth it."""
    device = pick_device()
    finder = Finder(trained, device, decoding)
    if device.type == "cpu":
        choose_threads(
            lambda: look_at_nothing(finder), torch.set_num_threads, torch.get_num_threads(), threads
        )
    return finder


def identify(detector: Detector) -> str:
    """A digest of all that the finds of a detector that was opened here follow from."""
    assert isinstance(detector.eyes, Finder)
    assert isinstance(detector.trust, Trust | None)
    seal = hashlib.sha256(detector.eyes.digest().encode())
    if detector.trust:
        seal.update(save(detector.trust.to_tensors()))
    return seal.hexdigest()[:32]


def trust_of_run(
    finder: Finder, trained: Trained, run: Path, role: Role, on_frame: OnFrame = lambda done, of: None
) -> tuple[Trust | None, str]:
    """How far a run's detector can be trusted, measured on its held-out frames, once, and kept in the run; and what of it is
    unknown. None where there are no such frames, or not all of the shards are there.

    Scores of several views are not those of one: with another decoding it is measured anew, and not kept.
    """
    path, validation = RunDir(run).trust(role, trained.step), find_named(run, trained.config, "validation")
    plain = finder.decoding == PLAIN.of(trained.config.model)
    trust = load_trust(path) if plain else None
    if trust is None and validation and not find_missing(validation):
        shards = open_cached(validation, trained.config.data)
        trust = measure_trust(finder, shards, trained.config.model.crop_px, on_frame)
        if plain:
            save_trust(trust, path)
            # Of processes that measured at the same time, the first one's is everybody's.
            trust = load_trust(path) or trust
    return trust, say_unknown(trust, why_unmeasured(validation), finder.num_points)
