"""Names of pretrained networks do not float once a training has begun."""

import pytest

from assets.named_models import with_named_models
from projects.finished_model import FINISHED, NAMED_MODELS
from resources.compute.contract import JobRefused
from resources.storage.object_store import ObjectStore
from tests.model_hub import serving_hub
from training.contract import TrainingSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def named(tmp_path):
    """Hyperparameters of a training as they reach its trainer."""
    objects = ObjectStore(str(tmp_path / "objects"), tmp_path / "cache")

    def name(trainer, **hyperparameters):
        spec = TrainingSpec(
            job="job",
            workdir=tmp_path / "work",
            timeout_s=60,
            project="p",
            model="m",
            trainer=trainer,
            hyperparameters=hyperparameters,
            seed=1,
        )
        return with_named_models(spec, tmp_path, objects).hyperparameters

    return name


@pytest.mark.parametrize("trainer", sorted(NAMED_MODELS.keys() - {FINISHED}))
def test_a_folder_of_the_project_is_kept_under_its_hash(named, trainer, tmp_path):
    folder = tmp_path / "network"
    folder.mkdir()
    (folder / "config.json").write_text("{}")

    first = named(trainer, pretrained="./network", epochs=1)
    (folder / "config.json").write_text('{"changed": true}')
    second = named(trainer, pretrained=str(folder), epochs=1)

    assert first["epochs"] == 1
    assert first["pretrained"] != second["pretrained"]
    assert (tmp_path / "objects") in (tmp_path / first["pretrained"]).parents
    with pytest.raises(JobRefused, match=r"there is no file .*/none; expected a model"):
        named(trainer, pretrained="./none")


def test_a_name_of_the_hub_gets_its_commit(named, tmp_path):
    with serving_hub("acme/tiny", COMMIT, tmp_path / "hub"):
        found = named("training.language.writer:train", pretrained="acme/tiny")
        assert found == {"pretrained": "acme/tiny", "revision": COMMIT}
        pinned = named("training.language.writer:train", pretrained="acme/tiny", revision="abc")
        assert pinned["revision"] == "abc"
        with pytest.raises(JobRefused, match=r"does not show 'acme/none'; expected pretrained: a"):
            named("training.language.writer:train", pretrained="acme/none")


def test_what_is_elsewhere_and_what_other_trainers_read_stays_as_it_is(named, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    for trainer, name in (
        ("training.hub:train", "s3://ours/network"),
        ("training.hub:train", "acme/tiny"),
        ("mine:train", "./network"),
    ):
        assert named(trainer, pretrained=name) == {"pretrained": name}
