"""A detector of flags, measured and exported once."""

import pytest

from tests.inference.squares import FLAG_CONFIG, FLAG_PX, FlagDetector, finder_of, pack_flags
from tsal_dist.inference.trained import Trained
from tsal_dist.inference.trust import measure_trust


@pytest.fixture(scope="session")
def flag_trust(tmp_path_factory):
    return measure_trust(
        finder_of(FlagDetector()), pack_flags(tmp_path_factory.mktemp("flags"), FLAG_PX, 3), 64
    )


@pytest.fixture(scope="session")
def flag_file(flag_trust, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    from tsal_dist.inference.export_whole import export_whole

    path = tmp_path_factory.mktemp("file") / "flag.onnx"
    export_whole(Trained(FlagDetector(), FLAG_CONFIG, "flag student step 8"), path, flag_trust)
    return path
