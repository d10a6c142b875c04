"""The same protocol over DeepSpeed: ZeRO 0 to 3 divide optimiser, gradients and weights among the ranks.

Its configuration is generated from ours; a user's own JSON is merged over it, except where the two would
fight. Its checkpoints are not used: they are pickles, they load only on as many ranks as wrote them, and
only into the same ZeRO stage. Weights and optimiser state are gathered into the one form that every engine
reads instead; for detectors of well under a gigabyte that costs little.

The float32 parameters of a rank sit in flat partitions, which are all that the inner torch optimiser sees;
DeepSpeed's `safe_get` and `safe_set` functions reach one parameter's share of them. Two of their gaps (0.19)
are bridged here: with two parameter groups ZeRO 1 and 2 link only the first group's optimiser state, unless
the state is there before the first step; and ZeRO-3 cannot set a parameter that does not divide evenly. On CPUs
DeepSpeed compiles one small operator at first use (about half a minute, once per machine), which takes ninja and a
C++ compiler.
"""

import json
import logging
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.cpp_extension import get_default_build_root

from tsal_dist.config.runtime import EngineConfig
from tsal_dist.config.train import OptimConfig
from tsal_dist.dist.collectives import world_size
from tsal_dist.dist.environment import extensions_folder, find_on_path, select_deepspeed_device
from tsal_dist.engine.api import nothing
from tsal_dist.engine.batch_norms import freeze_batch_norms, prepare_batch_norms
from tsal_dist.engine.buffers import average_buffers
from tsal_dist.engine.compilation import wait_for_compilations
from tsal_dist.engine.inference import Inference, as_laid_out
from tsal_dist.engine.optim import (
    State,
    build_optimizer,
    check_names,
    check_optimizer,
    learning_rate,
    read_optimizer,
    write_optimizer,
)
from tsal_dist.errors import ConfigError, MissingExtra

# What a user's file must not say, because a setting of ours says it for both engines.
OURS = {
    "optimizer": "train.optim",
    "scheduler": "train.optim.schedule",
    "gradient_clipping": "train.optim.clip_norm",
    "gradient_accumulation_steps": "runtime.<role>.accumulate",
    "train_batch_size": "train.labelled_batch",
    "train_micro_batch_size_per_gpu": "train.labelled_batch",
    "fp16": "runtime.<role>.precision",
    "bf16": "runtime.<role>.precision",
    "amp": "runtime.<role>.precision",
    "torch_autocast": "runtime.<role>.precision",
}


class DeepSpeedEngine:
    """See `tsal_dist.engine.api.Engine`. One per process; the role's group is up before it is made."""

    def __init__(
        self,
        model: nn.Module,
        settings: EngineConfig,
        optim: OptimConfig,
        total_steps: int,
        device: torch.device,
    ) -> None:
        deepspeed = _import_deepspeed(device)
        wait_for_compilations(Path(extensions_folder() or get_default_build_root()))
        world = world_size()
        model = prepare_batch_norms(model.to(device), settings, device, world)
        self._inference = Inference(model, settings, device)
        self._settings = settings
        self._optim = optim
        self._total_steps = total_steps
        self._steps = 0
        self._model = model
        self._stage = deepspeed_config(settings, optim)["zero_optimization"]["stage"]
        self._engine, self._zero, _, _ = deepspeed.initialize(
            model=model,
            optimizer=build_optimizer(model, optim),
            config=deepspeed_config(settings, optim),
            dist_init_required=False,
        )
        if settings.compile:
            self._engine.compile()
        self._gathered = deepspeed.zero.GatheredParameters if self._stage == 3 else _nothing_gathered
        self._inner: torch.optim.Optimizer = self._zero.optimizer if self._stage else self._zero
        self._state_keys: tuple[str, ...] = ()
        if self._stage:
            self._state_keys = _spread_state(self._inner, optim)
            self._begin_state()

    @property
    def model(self) -> nn.Module:
        return self._model

    @property
    def steps(self) -> int:
        return self._steps

    @property
    def lr(self) -> float:
        return learning_rate(self._steps, self._total_steps, self._optim)

    def forward(self, *inputs: Any) -> Any:
        freeze_batch_norms(self._model, self._settings)
        return self._engine(*as_laid_out(inputs, self._settings))

    @property
    def infer(self) -> Inference:
        return self._inference

    def step(self, loss: Tensor, before_update: Callable[[], None] = nothing) -> Tensor | None:
        for group in self._inner.param_groups:
            group["lr"] = self.lr
        self._engine.backward(loss)
        before_update()
        due = self._engine.is_gradient_accumulation_boundary()
        norm = None
        if due and not self._stage:  # without ZeRO, DeepSpeed keeps the norm to itself
            grads = [p.grad for p in self._model.parameters() if p.grad is not None]
            norm = nn.utils.get_total_norm(grads)
        self._engine.step()
        if not due:
            return None
        self._steps += 1
        if norm is None:
            norm = torch.as_tensor(self._engine.get_global_grad_norm(), dtype=torch.float32)
        return norm

    def full_weights(self) -> dict[str, Tensor]:
        average_buffers(self._model)
        with self._gathered(list(self._model.parameters())):
            return {
                name: value.detach().to("cpu", copy=True) for name, value in self._model.state_dict().items()
            }

    def replace_weights(self, weights: Mapping[str, Tensor]) -> None:
        with self._gathered(list(self._model.parameters()), modifier_rank=0):
            check_names(self._model.state_dict(), weights, "weights file")
            self._model.load_state_dict(weights)
        if self._stage:
            for name, parameter in self._model.named_parameters():
                self._set_share(parameter, weights[name])

    def state_dict(self) -> dict[str, Any]:
        return {
            "weights": self.full_weights(),
            "optimizer": self._read_optimizer(),
            "optimizer_name": self._optim.name,
            "steps": self._steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        check_optimizer(state, self._optim)
        self.replace_weights(state["weights"])
        if self._stage:
            self._write_partitions(state["optimizer"])
        else:
            write_optimizer(self._inner, self._model, state["optimizer"])
        self._steps = int(state["steps"])

    def _begin_state(self) -> None:
        """Give the inner optimiser the state that it would begin with, for every partition."""
        name = "fp32_partitioned_groups_flat" if self._stage == 3 else "single_partition_of_fp32_groups"
        for flat in getattr(self._zero, name):
            self._inner.state[flat] = {key: torch.zeros_like(flat) for key in self._state_keys}
            if isinstance(self._inner, torch.optim.AdamW):
                self._inner.state[flat]["step"] = torch.tensor(0.0, device=flat.device)
        if self._stage < 3:
            self._zero._lazy_init_hp_params_optimizer_state()

    def _read_optimizer(self) -> State:
        if not self._stage:
            return read_optimizer(self._inner, self._model)
        from deepspeed.utils import safe_get_full_optimizer_state

        count = next(iter(self._inner.state.values())).get("step")
        state: State = {}
        for name, parameter in self._learning():
            state[name] = {
                key: safe_get_full_optimizer_state(parameter, key).cpu() for key in self._state_keys
            }
            if count is not None:
                state[name]["step"] = count.clone()
        return state

    def _write_partitions(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        learning = dict(self._learning())
        check_names({name: p for name, p in learning.items() if name in state}, state, "optimiser's state")
        for partition in self._inner.state.values():  # in place: DeepSpeed has linked these very tensors
            for value in partition.values():
                value.zero_()
        for name, entries in state.items():
            for key in self._state_keys:
                self._set_share(learning[name], entries[key], key)
            for partition in self._inner.state.values():
                if "step" in entries:
                    partition["step"].copy_(entries["step"])

    def _learning(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self._model.named_parameters() if p.requires_grad]

    def _set_share(self, parameter: nn.Parameter, value: Tensor, key: str | None = None) -> None:
        """Put this rank's share of `value` into its float32 partition, or into its optimiser state `key`."""
        from deepspeed import utils

        value = value.to(parameter.device)
        if self._stage == 3:
            size = parameter.ds_tensor.numel()  # type: ignore[attr-defined]
            rank = dist.get_rank()
            piece = value.flatten()[rank * size : (rank + 1) * size]
            value = nn.functional.pad(piece, (0, size - piece.numel()))
            set_weight, set_state = utils.safe_set_local_fp32_param, utils.safe_set_local_optimizer_state
        else:
            set_weight, set_state = utils.safe_set_full_fp32_param, utils.safe_set_full_optimizer_state
        if key is None:
            set_weight(parameter, value)
        else:
            set_state(parameter, value, key)


def _spread_state(optimizer: torch.optim.Optimizer, optim: OptimConfig) -> tuple[str, ...]:
    """What the optimiser keeps in the shape of its parameters."""
    if isinstance(optimizer, torch.optim.AdamW):
        return ("exp_avg", "exp_avg_sq")
    return ("momentum_buffer",) if optim.momentum else ()


def deepspeed_config(settings: EngineConfig, optim: OptimConfig) -> dict[str, Any]:
    """DeepSpeed's JSON for our settings, the user's file merged over it."""
    config = {
        "train_micro_batch_size_per_gpu": 1,  # only scales what DeepSpeed would print about speed
        "gradient_accumulation_steps": settings.accumulate,
        "gradient_clipping": optim.clip_norm,
        "steps_per_print": sys.maxsize,
        "zero_optimization": {"stage": settings.zero_stage},
        # Our optimisers are torch's own, Nesterov SGD among them, whatever ZeRO has been tested with.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "torch_autocast": {"enabled": settings.precision == "bfloat16", "dtype": "bfloat16"},
    }
    if not settings.deepspeed_file:
        return config
    own = _read_user_file(Path(settings.deepspeed_file))
    for key in OURS.keys() & own.keys():
        raise ConfigError(
            f"{settings.deepspeed_file} sets {key!r}, which is set by {OURS[key]}. Remove it there."
        )
    zero = {**config["zero_optimization"], **own.get("zero_optimization", {})}  # type: ignore[dict-item]
    if zero["stage"] != settings.zero_stage:
        raise ConfigError(
            f"{settings.deepspeed_file} asks for ZeRO stage {zero['stage']} and runtime.<role>.zero_stage for "
            f"{settings.zero_stage}. Make them equal, or remove the stage from the file."
        )
    return {**config, **own, "zero_optimization": zero}


def _read_user_file(path: Path) -> dict[str, Any]:
    try:
        own = json.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"There is no DeepSpeed file {str(path)!r}. Correct deepspeed_file.") from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"The DeepSpeed file {path} is not valid JSON: {error}.") from None
    if not isinstance(own, dict):
        raise ConfigError(f"The DeepSpeed file {path} holds no JSON object. See deepspeed.ai for its keys.")
    return own


def _import_deepspeed(device: torch.device) -> Any:
    select_deepspeed_device(device.type)
    find_on_path(str(Path(sys.executable).parent))  # ninja, which pip puts there
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    # DeepSpeed still calls collectives by the names that torch has renamed.
    warnings.filterwarnings("ignore", r"`torch.distributed.\w+` is deprecated", FutureWarning)
    try:
        import deepspeed
    except ImportError:
        raise MissingExtra("deepspeed", "deepspeed", "The engine kind 'deepspeed'") from None
    return deepspeed


def _nothing_gathered(parameters: list[nn.Parameter], modifier_rank: int | None = None) -> Any:
    """Below ZeRO-3 every rank holds the whole model."""
    return nullcontext()
