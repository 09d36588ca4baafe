"""The object store keeps things whole, once, and tells when they are not what they were."""

import errno
import shutil
from pathlib import Path

import pytest

from engine import bucket
from engine.artefact import MANIFEST, ArtefactCorrupt, seal
from resources.storage.object_store import ObjectMissing, ObjectStore
from tests import buckets

KEY = "artefacts/reader"


class Folder:
    """A store under a folder, and what lies in it."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.copies = (shutil, "copyfile")

    def path(self, key):
        return Path(self.root, key)

    def get(self, key):
        return self.path(key).read_bytes()

    def put(self, key, content):
        self.path(key).write_bytes(content)

    def written(self):
        files = (path for path in Path(self.root).rglob("*") if path.is_file())
        return sorted((str(path), path.stat().st_ino, path.stat().st_mtime_ns) for path in files)


class Bucket:
    """A store in a bucket, and what lies in it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.copies = (bucket.Bucket, "upload")

    def get(self, key):
        return buckets.get(key)

    def put(self, key, content):
        buckets.put(key, content)

    def written(self):
        return buckets.written()


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return Folder(tmp_path / "objects")
    return Bucket(buckets.make_bucket(monkeypatch))


@pytest.fixture
def store(place, tmp_path):
    return ObjectStore(place.root, tmp_path / "cache")


@pytest.fixture
def sealed(tmp_path):
    """A sealed folder and its digest."""
    folder = tmp_path / "made"
    (folder / "deep").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(bytes(range(256)) * 8)
    (folder / "deep" / "signature.json").write_text('{"input": 1}')
    return folder, seal(folder)


def fill_the_disk(monkeypatch, copies, after):
    """Make the copy after so many fail as on a full disk."""
    module, name = copies
    real, created = getattr(module, name), []

    def copy(*args, **kwargs):
        if len(created) == after:
            raise OSError(errno.ENOSPC, "No space left on device")
        created.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, copy)


def test_fetched_folder_has_the_bytes_that_were_put(store, sealed):
    folder, digest = sealed
    store.put_folder(folder, KEY)

    fetched = store.fetch_folder(KEY, digest)

    for name in ("model.onnx", "deep/signature.json", MANIFEST):
        assert (fetched / name).read_bytes() == (folder / name).read_bytes()


def test_put_file_has_the_bytes_of_the_file(store, place, tmp_path):
    file = tmp_path / "results.parquet"
    file.write_bytes(b"\x00rows\xff")

    uri = store.put_file(file, "simulations/results.parquet")

    assert uri == f"{place.root}/simulations/results.parquet"
    assert place.get("simulations/results.parquet") == b"\x00rows\xff"


def test_put_text_is_read_back(store):
    store.put_text("evidence/a.json", '{"genau": "für"}')

    assert store.get_text("evidence/a.json") == '{"genau": "für"}'


def test_has_knows_what_is_there(store):
    store.put_text("evidence/a.json", "{}")

    assert [store.has(key) for key in ("evidence/a.json", "evidence/b.json")] == [True, False]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_full_disk_leaves_no_folder(after, store, place, sealed, monkeypatch):
    folder, digest = sealed
    fill_the_disk(monkeypatch, place.copies, after)

    with pytest.raises(OSError, match="No space left"):
        store.put_folder(folder, KEY)

    with pytest.raises(ObjectMissing):
        store.fetch_folder(KEY, digest)


def test_folder_is_put_again_after_a_full_disk(store, place, sealed, monkeypatch):
    folder, digest = sealed
    with monkeypatch.context() as full:
        fill_the_disk(full, place.copies, 1)
        with pytest.raises(OSError, match="No space left"):
            store.put_folder(folder, KEY)

    store.put_folder(folder, KEY)

    assert (store.fetch_folder(KEY, digest) / "model.onnx").stat().st_size == 2048


def test_full_disk_leaves_no_file_under_a_folder(tmp_path, sealed, monkeypatch):
    place = Folder(tmp_path / "objects")
    store = ObjectStore(place.root, tmp_path / "cache")
    fill_the_disk(monkeypatch, place.copies, 1)

    with pytest.raises(OSError, match="No space left"):
        store.put_folder(sealed[0], KEY)

    assert place.written() == []


def test_full_disk_leaves_no_single_file(store, place, sealed, monkeypatch):
    fill_the_disk(monkeypatch, place.copies, 0)

    with pytest.raises(OSError, match="No space left"):
        store.put_file(sealed[0] / "model.onnx", "blobs/model.onnx")

    assert place.written() == []


def test_second_put_of_a_folder_writes_nothing(store, place, sealed):
    store.put_folder(sealed[0], KEY)
    before = place.written()

    store.put_folder(sealed[0], KEY)

    assert place.written() == before


def test_second_put_of_a_file_writes_nothing(store, place, sealed):
    store.put_file(sealed[0] / "model.onnx", "blobs/model.onnx")
    before = place.written()

    store.put_file(sealed[0] / "model.onnx", "blobs/model.onnx")

    assert place.written() == before


@pytest.mark.parametrize("place", ["folder"], indirect=True)
@pytest.mark.parametrize("name", ["model.onnx", "deep/signature.json", MANIFEST])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:5] + bytes([content[5] ^ 1]) + content[6:],
        lambda content: content[:5] + bytes([content[5] ^ 128]) + content[6:],
        lambda content: b"",
    ],
    ids=["cut", "low bit", "high bit", "emptied"],
)
def test_damaged_folder_is_not_fetched(damage, name, store, place, sealed):
    folder, digest = sealed
    store.put_folder(folder, KEY)
    place.put(f"{KEY}/{name}", damage(place.get(f"{KEY}/{name}")))

    with pytest.raises(ArtefactCorrupt):
        store.fetch_folder(KEY, digest)


def test_damaged_folder_is_healed_by_the_next_put(store, place, sealed):
    folder, digest = sealed
    store.put_folder(folder, KEY)
    place.put(f"{KEY}/model.onnx", b"cut")

    store.put_folder(folder, KEY)

    assert (store.fetch_folder(KEY, digest) / "model.onnx").stat().st_size == 2048


def test_added_file_makes_a_folder_corrupt(store, place, sealed):
    folder, digest = sealed
    store.put_folder(folder, KEY)
    place.put(f"{KEY}/added.bin", b"x")

    with pytest.raises(ArtefactCorrupt, match=r"added\.bin"):
        store.fetch_folder(KEY, digest)


def test_folder_of_another_digest_is_not_fetched(store, sealed):
    store.put_folder(sealed[0], KEY)

    with pytest.raises(ArtefactCorrupt, match="expected " + "0" * 64):
        store.fetch_folder(KEY, "0" * 64)


@pytest.mark.parametrize(
    "ask",
    [lambda s: s.fetch_folder("absent", "0" * 64), lambda s: s.get_text("absent")],
    ids=["folder", "text"],
)
def test_missing_object_is_told_with_its_address(ask, store, place):
    with pytest.raises(ObjectMissing, match=f"{place.root}/absent"):
        ask(store)


def test_damaged_local_copy_of_a_bucket_is_fetched_again(monkeypatch, tmp_path, sealed):
    folder, digest = sealed
    store = ObjectStore(buckets.make_bucket(monkeypatch), tmp_path / "cache")
    store.put_folder(folder, KEY)
    (store.fetch_folder(KEY, digest) / "model.onnx").write_bytes(b"cut")

    fetched = store.fetch_folder(KEY, digest)

    assert (fetched / "model.onnx").stat().st_size == 2048
