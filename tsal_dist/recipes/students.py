"""What a student may train beside the plain detector: twins, and a detector that shows its embedding."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tsal_dist.errors import ConfigError
from tsal_dist.models.embedding import EmbeddingTap, embedding_width
from tsal_dist.models.output import DetectorOutput
from tsal_dist.recipes.api import BuildNet, NetOutput


class _Twins(nn.Module):
    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, image_N3HW: Tensor) -> tuple[DetectorOutput, ...]:
        return tuple(net(image_N3HW) for net in self.nets)


class Twin:
    """Two detectors with different first weights, trained side by side; the first one is the detector."""

    detector = "nets.0."
    other = "nets.1."

    def build(self, make: BuildNet) -> nn.Module:
        twins = [make(), make()]
        one, other = (net.state_dict() for net in twins)
        if all(torch.equal(value, other[name]) for name, value in one.items()):
            raise ConfigError(
                "The method trains two detectors side by side, and both begin with the same weights: taught the same, they "
                "would stay one. Let model.weights be a file of the trunk alone, so that their heads differ."
            )
        return _Twins(twins)

    def outputs(self, given: Any) -> Sequence[NetOutput]:
        return [NetOutput(maps) for maps in given]


class _Showing(nn.Module):
    def __init__(self, net: nn.Module, width: int) -> None:
        super().__init__()
        self.net = net
        self.project = nn.Conv2d(embedding_width(net), width, 1)

    def forward(self, image_N3HW: Tensor) -> tuple[DetectorOutput, Tensor]:
        with EmbeddingTap(self.net) as tap:
            maps = self.net(image_N3HW)
        # A step on labels alone asks for no embedding, and DDP waits for a gradient of every weight: of these it is 0 then.
        idle = 0 * torch.stack([weights.sum() for weights in self.project.parameters()]).sum()
        return maps._replace(center_N1hw=maps.center_N1hw + idle), self.project(tap.taken)


class ShowsEmbedding:
    """The detector, and its embedding brought to `width` channels by a layer that learns with it."""

    detector = "net."

    def __init__(self, width: int) -> None:
        self._width = width

    def build(self, make: BuildNet) -> nn.Module:
        return _Showing(make(), self._width)

    def outputs(self, given: Any) -> Sequence[NetOutput]:
        maps, embedding = given
        return [NetOutput(maps, {"embedding": embedding})]


def part_of(weights: Mapping[str, Tensor], beginning: str) -> dict[str, Tensor]:
    """The weights whose names begin so, by the rest of their names."""
    return {
        name.removeprefix(beginning): value for name, value in weights.items() if name.startswith(beginning)
    }
