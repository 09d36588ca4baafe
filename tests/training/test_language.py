"""Networks of transformers learn from texts, and are registered with their tokenizers."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest

from engine.artefact import read_signature
from engine.protocol import Refused
from engine.runtime.model import Model
from engine.runtime.predictions import predictions_of
from tests.training.tables import files_of, opinions
from tests.training.tiny_networks import bert
from tests.waiting import PATIENCE_S
from training.contract import DatasetFiles, TrainingResult, TrainingSpec
from training.main import fit, gather

CLASSIFIER = "training.language.classifier:train"
LEARNED = {"epochs": 4, "learning_rate": 5e-3, "batch_size": 16}


def words_of(table: pa.Table) -> list[str]:
    return [word for text in table.column("text").to_pylist() for word in text.split()]


@pytest.fixture
def reviews(tmp_path) -> DatasetFiles:
    return files_of(opinions(300), "opinion", tmp_path / "reviews", split={"validation": 0.2})


@pytest.fixture
def network(tmp_path) -> Path:
    return bert(tmp_path / "bert", words_of(opinions(300)))


@pytest.fixture
def trained(tmp_path):
    """Trains in this process and gives the result."""

    def train(trainer, dataset, **hyperparameters) -> TrainingResult:
        spec = TrainingSpec(
            job="job",
            workdir=Path(tempfile.mkdtemp(dir=tmp_path)),
            timeout_s=PATIENCE_S,
            project="words",
            model="model",
            trainer=trainer,
            hyperparameters=hyperparameters,
            seed=1,
            dataset=dataset,
        )
        return gather(spec, fit(spec, use_gpu=False), "cpu")

    return train


def predictions(result: TrainingResult, texts: list[str]) -> list:
    model = Model(result.artefact)
    (taken,) = read_signature(result.artefact).inputs
    rows = pa.array(texts).to_numpy(zero_copy_only=False).astype(object)[:, None]
    return predictions_of(model.signature, model.answers({taken.name: rows}))


def test_a_network_learns_the_classes_of_texts(trained, reviews, network):
    result = trained(CLASSIFIER, reviews, pretrained=str(network), **LEARNED)

    assert result.signature.runtime == "transformers"
    assert result.metrics["test_accuracy"] > 0.9
    assert result.metrics["validation_accuracy"] > 0.9
    assert [column.name for column in result.signature.columns] == ["text"]
    asked = ["superb lovely film", "", "boring dull plot " * 100]
    assert predictions(result, asked)[::2] == ["good", "bad"]


def test_a_network_learns_a_number_from_texts_by_the_weights_of_rows(trained, tmp_path, network):
    table = opinions(200)
    stars = [5.5 if each == "good" else 1.25 for each in table.column("opinion").to_pylist()]
    known = table.drop_columns(["opinion"]).append_column("stars", pa.array(stars))
    weights = pa.array([1.0] * len(stars))
    rated = files_of(
        known.append_column("counts", weights),
        "stars",
        tmp_path / "rated",
        task="regression",
        weight="counts",
    )

    result = trained(CLASSIFIER, rated, pretrained=str(network), **{**LEARNED, "epochs": 10})

    assert result.metrics["test_rmse"] < result.metrics["baseline_rmse"] / 2


def test_a_network_of_another_kind_or_without_words_is_refused(trained, reviews, tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    small = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16)
    ViTForImageClassification(small).save_pretrained(tmp_path / "vit")
    with pytest.raises(Refused, match=r"is a vit \(ViTForImageClassification\), expected a model"):
        trained(CLASSIFIER, reviews, pretrained=str(tmp_path / "vit"), **LEARNED)

    folder = bert(tmp_path / "mute", ["word"])
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(Refused, match="has no tokenizer, or one that knows no word"):
        trained(CLASSIFIER, reviews, pretrained=str(folder), **LEARNED)


def test_of_several_texts_the_column_is_named(trained, tmp_path, network):
    table = opinions(100)
    twice = table.append_column("title", table.column("text"))
    both = files_of(twice, "opinion", tmp_path / "both")

    with pytest.raises(Refused, match="expected one that the model reads"):
        trained(CLASSIFIER, both, pretrained=str(network), **LEARNED)

    result = trained(
        CLASSIFIER, both, pretrained=str(network), column="title", **{**LEARNED, "epochs": 1}
    )
    assert [column.name for column in result.signature.columns] == ["title"]


def test_a_finished_text_classifier_is_brought_with_its_classes(trained, reviews, tmp_path):
    # In another order than the dataset's.
    folder = bert(tmp_path / "given", words_of(opinions(300)), ["good", "bad"])

    result = trained("training.finished.trainer:train", reviews, model=str(folder))

    assert result.signature.runtime == "transformers"
    assert result.signature.classes == ["bad", "good"]
    assert result.signature.order == [1, 0]


def test_a_finished_text_classifier_that_cannot_serve_is_refused(trained, reviews, tmp_path):
    other = bert(tmp_path / "other", ["word"], ["no", "yes"])
    with pytest.raises(Refused, match="knows the classes no, yes, expected those of the dataset"):
        trained("training.finished.trainer:train", reviews, model=str(other))

    mute = bert(tmp_path / "mute", ["word"], ["bad", "good"])
    for file in mute.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(Refused, match="has no tokenizer, expected one beside the model"):
        trained("training.finished.trainer:train", reviews, model=str(mute))
