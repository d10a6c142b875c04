"""Shards on URLs: in memory, and on an S3 server that runs in the test."""

import fsspec
import pytest
from footage import files_of, make_300vw
from packing import pack_all

from tsal_dist.pack.lint import lint_folder
from tsal_dist.shards import files
from tsal_dist.shards.manifest import open_manifest


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("remote")
    make_300vw(root / "v", "000", 12)
    make_300vw(root / "v", "001", 12, seed=1)
    return root / "v"


def local_bytes(videos, out):
    pack_all(out, [videos])
    return files_of(out / "train")


def remote_bytes(url):
    return {name: files.read_bytes(files.join(url, name)) for name in files.list_names(url)}


@pytest.mark.parametrize("scheme", ["memory://packed", "file://"])
def test_a_url_gets_the_bytes_of_a_path(videos, tmp_path, scheme):
    url = f"{scheme}{tmp_path}/url"
    pack_all(url, [videos])
    assert remote_bytes(f"{url}/train") == local_bytes(videos, tmp_path / "path")
    assert lint_folder(f"{url}/train") == []


def test_an_interrupted_upload_goes_on(videos, tmp_path, monkeypatch):
    url = f"memory://again{tmp_path}"
    move, left = files.put_file, 9

    def put_file(aside, target, durable=True):
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        move(aside, target, durable)

    monkeypatch.setattr(files, "put_file", put_file)
    with pytest.raises(KeyboardInterrupt):
        pack_all(url, [videos])
    outcome = pack_all(url, [videos])
    assert 0 < outcome.progress.frames_before < outcome.progress.frames
    assert remote_bytes(f"{url}/train") == local_bytes(videos, tmp_path / "path")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of botocore and of the server, none of them ours
def test_s3_with_two_workers(videos, tmp_path, monkeypatch):
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        _, port = server.get_host_and_port()
        for name in ("ID", "SECRET"):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID" if name == "ID" else "AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("bucket")
        pack_all("s3://bucket/faces", [videos], workers=2)
        assert remote_bytes("s3://bucket/faces/train") == local_bytes(videos, tmp_path / "path")
        assert open_manifest("s3://bucket/faces/train").frames == 24
        assert lint_folder("s3://bucket/faces/train") == []
    finally:
        server.stop()
