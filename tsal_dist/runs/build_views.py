"""How a role sees its frames: crop, margin, distortion, and who changes places in a mirror image."""

from tsal_dist.config import RunConfig
from tsal_dist.config.data import AugmentConfig
from tsal_dist.data.crop import ViewSettings
from tsal_dist.geometry.flip import mirror_order


def build_labelled_view(config: RunConfig) -> ViewSettings:
    """Of frames whose labels are learnt from."""
    model, layout = config.model, config.model.layout
    return ViewSettings(
        model.crop_px,
        config.data.box_expand,
        config.data.hard,
        mirror=mirror_order(layout.flip, layout.names, model.num_points),
    )


def build_unlabelled_view(
    config: RunConfig, augment: AugmentConfig, labels_of: frozenset[int] = frozenset()
) -> ViewSettings:
    """Of frames that pseudo-labels are made for; annotations are looked at in shards `labels_of` alone."""
    model, layout = config.model, config.model.layout
    return ViewSettings(
        model.crop_px,
        config.data.box_expand,
        augment,
        bool(labels_of),
        labels_of or None,
        points=model.num_points,
        mirror=mirror_order(layout.flip, layout.names, model.num_points),
    )
