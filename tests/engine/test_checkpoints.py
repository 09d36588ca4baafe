import shutil

import pytest

from engine.checkpoints import CheckpointFolder


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "state.pt").write_bytes(b"x" * 10_000)
    return folder


def test_the_newest_whole_checkpoint_is_found(tmp_path, source):
    checkpoints = CheckpointFolder(tmp_path / "checkpoints")
    checkpoints.save(source, 1)
    checkpoints.save(source, 2)
    assert checkpoints.newest_valid()[0] == 2


def test_a_checkpoint_cut_in_half_is_passed_over(tmp_path, source):
    checkpoints = CheckpointFolder(tmp_path / "checkpoints")
    checkpoints.save(source, 1)
    cut = checkpoints.save(source, 2) / "state.pt"
    cut.write_bytes(cut.read_bytes()[:5_000])
    assert checkpoints.newest_valid()[0] == 1


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path, source, monkeypatch):
    checkpoints = CheckpointFolder(tmp_path / "checkpoints")
    checkpoints.save(source, 1)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(source, 2)
    assert checkpoints.newest_valid()[0] == 1
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["000001"]


def test_only_the_newest_few_are_kept(tmp_path, source):
    checkpoints = CheckpointFolder(tmp_path / "checkpoints")
    for number in range(1, 6):
        checkpoints.save(source, number)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["000004", "000005"]
