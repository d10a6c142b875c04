import pytest

from tsal_dist.errors import DataError
from tsal_dist.shards import files


@pytest.fixture(params=["path", "file", "memory"])
def folder(request, tmp_path):
    if request.param == "memory":
        return f"memory://{tmp_path.name}"
    return f"file://{tmp_path}" if request.param == "file" else str(tmp_path)


def test_files_come_and_go(folder, tmp_path):
    url = files.join(folder, "a.bin")
    assert not files.exists(url)
    assert files.size_bytes(url) is None
    files.put_bytes(url, b"one")
    aside = tmp_path / "aside"
    aside.write_bytes(b"four")
    files.put_file(aside, files.join(folder, "b.bin"))
    assert not aside.exists()
    assert [name for name in files.list_names(folder) if name.endswith(".bin")] == ["a.bin", "b.bin"]
    assert files.read_bytes(files.join(folder, "b.bin")) == b"four"
    assert files.size_bytes(url) == 3
    with files.view(url) as view:
        assert bytes(view) == b"one"
    files.remove(url)
    assert not files.exists(url)


def test_what_is_not_there_says_so(folder):
    with pytest.raises(DataError, match="does not exist"):
        files.read_bytes(files.join(folder, "nothing"))
    assert files.list_names(files.join(folder, "nowhere")) == []
