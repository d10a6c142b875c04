"""What a panel says of unlabelled clips: one forward pass per net, frame and view, one flow per pair of neighbours.

heatmap     the highest peak, and its height
companions  of each map the peak that fits the other points as in the labels; valid where it does
center      the points of the best centre and its offsets, and the centre's score
track       the neighbours' peaks carried here by flow: from before and from after, by how well each flow undoes
            itself; with the carried points' score. A frame without a trusted way from either side is not valid.
candidates  peaks, and the points of the best centres
patch       peaks, and the map around each, in eight bits
feature     peaks, and the net's embedding at each
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tsal_dist.errors import ConfigError
from tsal_dist.geometry.center import decode_center
from tsal_dist.geometry.heatmap import decode_heatmap
from tsal_dist.metrics.calibration import Calibration
from tsal_dist.models.companions import Fitting, agree
from tsal_dist.models.embedding import EmbeddingTap, sample_at
from tsal_dist.models.input import normalize
from tsal_dist.models.output import DetectorOutput
from tsal_dist.models.views import average_views
from tsal_dist.recipes.api import Source
from tsal_dist.recipes.frames import Answers, Frames, Pairs, neighbours
from tsal_dist.recipes.patches import cut_patches
from tsal_dist.recipes.study import begin_flow
from tsal_dist.trackers.carry import Carried, carry_points
from tsal_dist.trackers.flow import Flow, Tracker


class Limits(NamedTuple):
    """Where a track ends to be trusted."""

    max_error_px: float
    max_move_px: float


class Found(NamedTuple):
    """One source's answer."""

    points_NK2: Tensor
    score_NK: Tensor
    valid_NK: Tensor
    more: Tensor | None = None


@torch.no_grad()
def label(
    panel: Mapping[str, nn.Module],
    tracker: Tracker,
    frames: Frames,
    sources: Sequence[Source],
    *,
    stride: int,
    radius: int,
    limits: Limits,
    fitting: Fitting | None = None,
    mirror_K: tuple[int, ...] = (),
) -> Answers:
    """The sources' answers for every frame and point. Without `mirror_K` no view is mirrored."""
    asked = _Asked(panel, frames, sources, stride, radius, fitting, mirror_K)
    pairs = neighbours(frames)
    tracked = any(source.reading == "track" for source in sources)
    begun = begin_flow(tracker, frames, pairs) if tracked else None  # found beside the detector
    flow: Flow | None = None
    found: dict[str, Found] = {}
    error_NK: Tensor | None = None
    for source in sources:
        if source.reading == "track":
            assert begun is not None, "begun above"
            flow = flow or begun()
            points_NK2, score_NK = asked.peaks(source.member, source.views)
            found[source.name], error_NK = _track(flow, pairs, points_NK2, score_NK, limits)
        else:
            found[source.name] = asked.read(source)
    score_NSK = torch.stack([one.score_NK for one in found.values()], 1)
    return Answers(
        points_NSK2=torch.stack([one.points_NK2 for one in found.values()], 1),
        score_NSK=score_NSK,
        valid_NSK=torch.stack([one.valid_NK for one in found.values()], 1),
        fb_error_NK=torch.zeros_like(score_NSK[:, 0]) if error_NK is None else error_NK,
        more={name: one.more for name, one in found.items() if one.more is not None},
    )


class _Asked:
    """The panel's outputs for some frames, each computed once."""

    def __init__(
        self,
        panel: Mapping[str, nn.Module],
        frames: Frames,
        sources: Sequence[Source],
        stride: int,
        radius: int,
        fitting: Fitting | None,
        mirror_K: tuple[int, ...],
    ) -> None:
        self._tapped = {source.member for source in sources if source.reading == "feature"}
        self._panel, self._image_N3HW, self._fitting = panel, normalize(frames.image_NHWC), fitting
        self._stride, self._radius, self._mirror_K = stride, radius, mirror_K
        self._outputs: dict[str, DetectorOutput] = {}
        self._embeddings: dict[str, Tensor] = {}
        self._heat: dict[tuple[str, int], Tensor] = {}
        self._peaks: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}

    def read(self, source: Source) -> Found:
        output = self._output(source.member)
        if source.reading == "center":
            faces_NCK2, face_score_NC = decode_center(
                output.center_N1hw, output.offset_N2Khw, self._stride_of(output)
            )
            score_NK = face_score_NC[:, :1].expand(faces_NCK2.shape[0], faces_NCK2.shape[2])
            return Found(faces_NCK2[:, 0], score_NK, torch.ones_like(score_NK, dtype=torch.bool))
        if source.reading == "companions":
            assert self._fitting is not None, "made for a method that reads companions"
            known, sigma_px, most = self._fitting
            heat_NKhw = self._heat_of(source.member, source.views)
            agreed = agree(heat_NKhw, known, self._stride_of(output), self._radius, sigma_px)
            return Found(agreed.points_NK2, agreed.score_NK, agreed.misfit_NK < most)
        points_NK2, score_NK = self.peaks(source.member, source.views)
        more = None
        if source.reading == "candidates":
            faces_NCK2, _ = decode_center(output.center_N1hw, output.offset_N2Khw, self._stride_of(output))
            more = faces_NCK2[:, : source.size].transpose(1, 2)
        elif source.reading == "patch":
            if self._stride_of(output) != self._stride:
                raise ConfigError(
                    f"The source {source.name!r} reads patches off {source.member!r}, whose maps have {self._stride_of(output)} "
                    f"pixels per cell and the student's {self._stride}. Read its peaks instead (reading='heatmap')."
                )
            heat_NKhw = self._heat_of(source.member, source.views)
            more = cut_patches(heat_NKhw, points_NK2, source.size, self._stride)
        elif source.reading == "feature":
            more = sample_at(self._embeddings[source.member], points_NK2, self._image_N3HW.shape[-1]).half()
        return Found(points_NK2, score_NK, torch.ones_like(score_NK, dtype=torch.bool), more)

    def peaks(self, member: str, views: int) -> tuple[Tensor, Tensor]:
        """Points and scores of the heatmaps, averaged over the views."""
        if (member, views) not in self._peaks:  # a track carries what the heatmap says
            stride = self._stride_of(self._output(member))
            self._peaks[member, views] = decode_heatmap(self._heat_of(member, views), stride, self._radius)
        return self._peaks[member, views]

    def _heat_of(self, member: str, views: int) -> Tensor:
        if (member, views) not in self._heat:
            output = self._output(member)
            self._heat[member, views] = average_views(
                self._panel[member],
                output.points_heat_NKhw,
                self._image_N3HW,
                self._stride_of(output),
                views,
                self._mirror_K,
            )
        return self._heat[member, views]

    def _stride_of(self, output: DetectorOutput) -> int:
        """Pixels per cell of this net's maps: a panel may hold nets of different kinds."""
        return self._image_N3HW.shape[-1] // output.heat_SNKhw.shape[-1]

    def _output(self, member: str) -> DetectorOutput:
        if member not in self._outputs:
            net = self._panel[member]
            with EmbeddingTap(net) if member in self._tapped else nullcontext() as tap:
                self._outputs[member] = net(self._image_N3HW)
            if tap is not None:
                self._embeddings[member] = tap.taken
        return self._outputs[member]


def state_errors(answers: Answers, sources: Sequence[Source], known: Calibration | None) -> Answers:
    """The same answers with the error in pixels that each score stands for, where a source is to state it.

    The calibration is of the first net's peaks: of other readings, and before there is one, nothing is known.
    """
    if not any(source.states_error for source in sources):
        return answers
    error_NSK = torch.full_like(answers.score_NSK, torch.nan)
    for place, source in enumerate(sources):
        if known is not None and source.states_error:
            error_NSK[:, place] = known.expected_px(answers.score_NSK[:, place]).to(error_NSK)
    return replace(answers, error_NSK=error_NSK)


def _track(
    flow: Flow, pairs: Pairs, points_NK2: Tensor, score_NK: Tensor, limits: Limits
) -> tuple[Found, Tensor]:
    """The track source, and its forward-backward error."""
    sum_NK3 = torch.zeros(*score_NK.shape, 3, device=score_NK.device)
    trust_NK = torch.zeros_like(score_NK)
    error_NK = torch.full_like(score_NK, torch.inf)
    for way, start_P, end_P in ((flow, *pairs), (flow.reverse, pairs.after_P, pairs.before_P)):
        carried: Carried = carry_points(
            way, points_NK2[start_P], max_error_px=limits.max_error_px, max_move_px=limits.max_move_px
        )
        trust_PK = carried.valid_NK / (1 + carried.error_NK)
        carried_PK3 = torch.cat([carried.points_NK2, score_NK[start_P].unsqueeze(-1)], -1)
        sum_NK3.index_add_(0, end_P, carried_PK3 * trust_PK.unsqueeze(-1))
        trust_NK.index_add_(0, end_P, trust_PK)
        usable_PK = torch.where(carried.valid_NK, carried.error_NK, torch.inf)
        error_NK[end_P] = torch.minimum(error_NK[end_P], usable_PK)
    valid_NK = trust_NK > 0
    mean_NK3 = sum_NK3 / trust_NK.clamp_min(1e-12).unsqueeze(-1)
    return Found(mean_NK3[..., :2], mean_NK3[..., 2], valid_NK), torch.where(valid_NK, error_NK, 0.0)
