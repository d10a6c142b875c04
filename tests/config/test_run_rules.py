"""Values that are fine alone and wrong together are refused with value, rule and remedy."""

import pytest

from tsal_dist.config import load_config
from tsal_dist.config.load import all_keys, section_of
from tsal_dist.config.run import RunConfig
from tsal_dist.errors import ConfigError


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["train.burn_in_steps=30000"], ["burn_in_steps (30000)", "20000"]),
        (["train.loss.ramp_up=0.8", "train.loss.ramp_down=0.3"], ["ramp_up (0.8)", "0.3"]),
        (["train.unlabelled_batch=7"], ["(7)", "multiple", "Use 8"]),
        (["data.labelled=x", "data.validation=x"], ["'x'", "split of its own"]),
        (["runtime.student.accumulate=3"], ["labelled_batch (16)", "accumulate (3)", "Use 15"]),
        (["runtime.teacher.accumulate=16"], ["unlabelled_batch (16)", "accumulate (16)", "whole clips"]),
        (["runtime.queue.low_water_rows=4096"], ["low_water_rows (4096)", "parked"]),
        (["runtime.queue.segment_rows=9999"], ["segment_rows (9999)"]),
        (["runtime.deadlines.silent_s=300"], ["silent_s (300.0)", "group_s"]),
        (["runtime.queue.on_starvation=replay"], ["on_starvation", "'replay' is called 'reuse' now"]),
        (["runtime.role=teacher"], ["'teacher'", "detached"]),
        (["runtime.topology=inline", "runtime.student.kind=deepspeed"], ["inline", "DeepSpeed"]),
        (["runtime.crew=night"], ["'night'", "runtime.role is ''", "--crew night"]),
        (["runtime.topology=detached", "runtime.role=student", "runtime.crew=night"], ["only teachers"]),
        (["runtime.topology=detached", "runtime.role=teacher", "runtime.crew=Night_1"], ["Night_1", "crew"]),
    ],
)
def test_rules_across_sections(overrides, words):
    with pytest.raises(ConfigError) as caught:
        load_config([], overrides)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    "setting",
    [
        "run.dir=s3://bucket/x",
        "run.dir=file:///data/x",
        "data.cache_dir=gs://bucket/cache",
        "model.weights=https://host/w.safetensors",
        "runtime.replay=s3://bucket/x",
        "runtime.fork=s3://bucket/x",
        'runtime.offline=["runs/a", "s3://bucket/x"]',
        "runtime.student.deepspeed_file=s3://bucket/ds.json",
    ],
)
def test_a_url_is_no_folder(setting):
    """It would become a local folder of that name."""
    key, _, place = setting.partition("=")
    with pytest.raises(ConfigError, match="must be a path of a filesystem") as caught:
        load_config([], [setting])
    assert str(caught.value).startswith(key)
    assert place.split('"')[-2 if '"' in place else 0] in str(caught.value)


def test_the_defaults_break_no_rule():
    assert load_config() == RunConfig()


def test_every_setting_is_documented_under_itself():
    silent = []
    for key in all_keys():
        section = RunConfig
        for part in key.split(".")[:-1]:
            section = section_of(section.model_fields[part].annotation)
        if not section.model_fields[key.split(".")[-1]].description:
            silent.append(key)
    assert silent == []
