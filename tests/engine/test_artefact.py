import pytest

from engine.artefact import ArtefactCorrupt, copy_sealed, is_sealed, seal, verify


@pytest.fixture
def folder(tmp_path):
    created = tmp_path / "artefact"
    created.mkdir()
    (created / "model.onnx").write_bytes(b"weights")
    (created / "signature.json").write_text("{}")
    return created


def test_the_same_bytes_have_the_same_hash(folder, tmp_path):
    digest = seal(folder)
    copy_sealed(folder, tmp_path / "copy")
    assert verify(tmp_path / "copy") == digest


def test_a_cut_file_is_noticed(folder):
    seal(folder)
    (folder / "model.onnx").write_bytes(b"weig")
    with pytest.raises(ArtefactCorrupt, match=r"model\.onnx"):
        verify(folder)


def test_an_added_file_is_noticed(folder):
    seal(folder)
    (folder / "extra.py").write_text("import os")
    with pytest.raises(ArtefactCorrupt, match=r"extra\.py"):
        verify(folder)


def test_another_hash_than_expected_is_noticed(folder):
    seal(folder)
    with pytest.raises(ArtefactCorrupt, match="expected"):
        verify(folder, "0" * 64)


def test_a_folder_without_a_manifest_does_not_count(folder):
    assert not is_sealed(folder)


@pytest.mark.parametrize("manifest", [b"[1]", b"null", b"\xff", b"{", b"[" * 100_000])
def test_a_manifest_that_is_no_mapping_is_noticed(manifest, folder):
    seal(folder)
    (folder / "manifest.json").write_bytes(manifest)
    with pytest.raises(ArtefactCorrupt, match=r"manifest\.json"):
        verify(folder)
