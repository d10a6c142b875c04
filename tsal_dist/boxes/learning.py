"""A box net learns: some hundred steps over random views, one process, the same by the same seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tsal_dist.boxes.labelled import Shown
from tsal_dist.boxes.views import draw
from tsal_dist.data.seeded_rng import generator_for, shuffled
from tsal_dist.geometry.boxes import BoxTarget, encode_boxes
from tsal_dist.losses.boxes import box_loss
from tsal_dist.models.box_net import BoxNet
from tsal_dist.models.input import normalize

OnStep = Callable[[int, float], None]
"""Called with how many steps are done, and the loss of the last."""

RISES = 0.3
"""Share of the steps in which the learning rate rises; then it falls to nothing."""
MOST_GRADIENT = 10.0


@dataclass(frozen=True)
class Lesson:
    """What is learnt with."""

    detector: str
    """Its name."""
    side_px: int
    weights: str = ""
    """File that its trunk starts from."""
    steps: int = 300
    batch: int = 8
    lr: float = 1.5e-3
    seed: int = 0


def learn(shown: Sequence[Shown], lesson: Lesson, device: torch.device, on_step: OnStep) -> BoxNet:
    """A net that has seen views of these frames."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(lesson.seed)
        net = BoxNet(lesson.detector, lesson.weights).to(device)
    learnt = [parameter for parameter in net.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=lesson.lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lesson.lr, total_steps=lesson.steps, pct_start=RISES, cycle_momentum=False
    )
    net.train()
    for step in range(lesson.steps):
        image_N3HW, boxes_B4 = _batch(shown, lesson, step)
        cells = (lesson.side_px // net.stride, lesson.side_px // net.stride)
        target = BoxTarget(*(part.to(device) for part in encode_boxes(boxes_B4, cells, net.stride)))
        maps_SN5hw = net(image_N3HW.to(device))
        loss = torch.stack([box_loss(maps_N5hw, target) for maps_N5hw in maps_SN5hw]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learnt, MOST_GRADIENT)
        optimizer.step()
        schedule.step()
        on_step(step + 1, float(loss.detach()))
    return net.eval()


def _batch(shown: Sequence[Shown], lesson: Lesson, step: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The views of one step. Every frame comes once before any comes again."""
    squares, boxes = [], []
    for number in range(step * lesson.batch, (step + 1) * lesson.batch):
        lap, place = divmod(number, len(shown))
        frame = shown[int(shuffled(len(shown), lesson.seed, lap, "order")[place])]
        square_SS3, boxes_B4 = draw(frame, lesson.side_px, generator_for(lesson.seed, number, "view"))
        squares.append(square_SS3)
        boxes.append(torch.from_numpy(boxes_B4).float())
    return normalize(torch.from_numpy(np.stack(squares))), boxes
