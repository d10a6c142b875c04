"""Which shards a run reads, how clips are cut, and how they are distorted."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tsal_dist.config.section import Section

# One folder may be written without brackets, and none as nothing: `data.labelled=shards/faces`, `data.validation=`.
Urls = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: ((value,) if value else ()) if isinstance(value, str) else value),
]


class AugmentConfig(Section):
    """Random changes to a clip. The geometry is drawn once per clip, so that flow stays honest."""

    rotate_deg: float = Field(20.0, ge=0, le=180)
    """Rotation is uniform in plus or minus this: in the hard view, unless said, as far as the labelled subjects turn
    where that is more."""

    scale: float = Field(0.15, ge=0, lt=1)
    """The subject is enlarged or shrunk by up to this share."""

    shift: float = Field(0.06, ge=0, lt=1)
    """The crop moves by up to this share of its side, in both directions."""

    flip_prob: float = Field(0.5, ge=0, le=1)
    """Chance of a mirror image, in which points are renamed by `model.layout.flip`: unless said, 0 where that is
    unknown."""

    brightness: float = Field(0.25, ge=0, lt=1)
    """Brightness changes by up to this share."""

    contrast: float = Field(0.25, ge=0, lt=1)
    """Contrast changes by up to this share."""

    saturation: float = Field(0.25, ge=0, le=1)
    """Saturation changes by up to this share."""

    blur_prob: float = Field(0.15, ge=0, le=1)
    """Chance of a gaussian or motion blur."""

    jpeg_prob: float = Field(0.15, ge=0, le=1)
    """Chance of strong JPEG artefacts."""

    occlude_prob: float = Field(0.25, ge=0, le=1)
    """Chance that a random patch is painted over part of the subject."""


class DataConfig(Section):
    """Shards in, clips out."""

    labelled: Urls = ()
    """Folders or URLs of shards whose labelled frames both roles learn from; also folders of WebDataset tars of others."""

    unlabelled: Urls = ()
    """Folders or URLs of shards whose clips the teacher labels. Annotations in them are read only where `labelled` names the
    same shards."""

    validation: Urls = ()
    """Held-out shards for periodic evaluation, the readiness gate and the best checkpoint."""

    normalizer: Literal["inter_ocular", "inter_pupil", "box_diagonal", "face_size", "wflw"] = "inter_ocular"
    """What landmark errors are divided by, in validation and in `evaluate`: unless said, `box_diagonal` where the
    shards hold no faces of a known layout."""

    clip_frames: int = Field(4, ge=1)
    """Frames per unlabelled clip, T: unless said, 1 where all unlabelled footage is still pictures. A clip of one has no
    neighbours, so nothing in it is tracked."""

    clip_stride: int = Field(1, ge=1)
    """Distance between the frames of a clip, in frames of the shard."""

    box_expand: float = Field(0.2, ge=0)
    """The subject's box grows by this share on each side before it is cropped: unless said, 0 where the box is the whole
    picture, and more where landmarks lie outside of it."""

    beyond_points: float = Field(0.0, ge=0)
    """How far the boxes of the labels reach beyond their landmarks on each side, in sides of the landmarks' own box: unless
    said, as the shards say. A prediction follows its subject by the landmarks, and grows their box to what was trained on."""

    workers: int = Field(2, ge=0)
    """Processes per rank that read and decode; 0 reads in the training process. They change speed, never
    data."""

    view: Literal["reader", "device"] = "reader"
    """Who turns, colours and covers a training crop: the process that reads it, or the device that learns from it, which
    leaves readers the decoding. Equal up to rounding."""

    cache_dir: str = ""
    """Folder for whole shards fetched from an object store; "" uses the system's temporary folder."""

    cache_gb: float = Field(50.0, gt=0)
    """Size bound of that folder."""

    spot_check_mb_s: float = Field(4.0, ge=0)
    """Megabytes per second of local tars that one process per machine compares with their manifests in the background; one
    that differs ends the run. 0 compares none."""

    easy: AugmentConfig = AugmentConfig(
        rotate_deg=8.0,
        scale=0.05,
        shift=0.03,
        flip_prob=0.0,
        brightness=0.05,
        contrast=0.05,
        saturation=0.05,
        blur_prob=0.0,
        jpeg_prob=0.0,
        occlude_prob=0.0,
    )
    """The teacher's view of an unlabelled clip."""

    hard: AugmentConfig = AugmentConfig()
    """The view of labelled frames, and the student's view of pseudo-labelled ones."""
