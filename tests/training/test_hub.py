"""Fine-tuning of a pretrained classifier: a tiny one, laid out as the hub lays them out."""

import numpy as np
import onnxruntime
import pytest

from engine.model_hub import HubUnavailable, NoSuchModel, resolve
from engine.protocol import Refused
from projects.schema import Dataset
from resources.datasets.sources import Sources
from resources.datasets.store import DatasetStore
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs
from tests import buckets
from tests.model_hub import serving_hub
from training.contract import DatasetFiles, TrainingResult
from training.hub import train

SHORT = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 8, "seed": 0}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def digits(settings) -> DatasetFiles:
    objects = ObjectStore(settings.object_root, settings.state / "cache")
    declared = Dataset(source="sklearn:digits", label="target")
    rows = Sources(objects, RequestLogs(settings.state / "requests", objects)).read(
        "p", declared, settings.state
    )
    version = DatasetStore(objects).write("p", "digits", declared, rows.table.slice(0, 400))
    kept = {"name", "version", "train", "test", "features", "columns", "label", "classes"}
    return DatasetFiles(**version.model_dump(include=kept))


@pytest.fixture
def pretrained(tmp_path):
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=16,
        patch_size=8,
        num_labels=3,
    )
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def test_a_pretrained_classifier_learns_other_classes_and_is_exported(
    compute, spec_of, digits, pretrained
):
    spec = spec_of(
        trainer="training.hub:train",
        dataset=digits,
        hyperparameters={
            "pretrained": str(pretrained),
            "epochs": 6,
            "learning_rate": 5e-3,
            "batch_size": 32,
        },
    )
    result = compute.run("training.main", spec, TrainingResult, lambda line: None)
    assert result.metrics["test_accuracy"] > 0.4
    session = onnxruntime.InferenceSession(result.artefact / "model.onnx")
    rows = np.zeros((5, 64), np.float32)
    assert session.run(None, {session.get_inputs()[0].name: rows})[0].shape == (5, 10)


def test_a_pretrained_classifier_of_a_bucket_is_brought(monkeypatch, pretrained, digits, tmp_path):
    bucket = buckets.make_bucket(monkeypatch)
    for file in pretrained.iterdir():
        buckets.put(f"models/vit/{file.name}", file.read_bytes())
    monkeypatch.chdir(tmp_path)
    learned = []
    monkeypatch.setattr("training.vision.learn", lambda config, build: learned.append(build))

    train({"pretrained": f"{bucket}/models/vit", **SHORT})

    (build,) = learned
    assert build(64, 10, 0.0, 16.0).size == (16, 16)


def test_a_model_of_another_task_is_named(tmp_path):
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")

    with pytest.raises(Refused, match=r"a bert \(BertForSequenceClassification\), expected a"):
        train({"pretrained": str(tmp_path / "bert"), **SHORT})


@pytest.fixture
def hub(tmp_path):
    """A hub that knows one model."""
    with serving_hub("acme/tiny", COMMIT, tmp_path / "hub"):
        yield


def test_a_name_becomes_the_commit_it_means_now(hub):
    assert resolve("acme/tiny") == ("acme/tiny", COMMIT, None)


def test_an_unknown_model_is_named(hub):
    with pytest.raises(NoSuchModel, match="acme/none"):
        resolve("acme/none")


def test_a_hub_that_is_away_says_so(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubUnavailable):
        resolve("acme/tiny")
