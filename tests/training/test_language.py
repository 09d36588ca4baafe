"""Networks of transformers learn from texts, and are registered with their tokenizers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engine.artefact import read_signature
from engine.protocol import Refused
from engine.runtime.model import Model
from engine.runtime.predictions import predictions_of
from resources.datasets.columns import UnusableColumns
from tests.training.tables import files_of, opinions, questions, wine
from tests.training.tiny_networks import bert, gpt
from training.contract import DatasetFiles, TrainingResult

CLASSIFIER = "training.language.classifier:train"
WRITER = "training.language.writer:train"
LEARNED = {"epochs": 8, "learning_rate": 5e-3, "batch_size": 16}


def words_of(table: pa.Table) -> list[str]:
    return [word for row in table.to_pylist() for text in row.values() for word in text.split()]


@pytest.fixture
def reviews(tmp_path) -> DatasetFiles:
    return files_of(opinions(300), "opinion", tmp_path / "reviews", split={"validation": 0.2})


@pytest.fixture
def network(tmp_path) -> Path:
    return bert(tmp_path / "bert", words_of(opinions(300)))


def predictions(result: TrainingResult, texts: list[str]) -> list:
    model = Model(result.artefact)
    (taken,) = read_signature(result.artefact).inputs
    rows = pa.array(texts).to_numpy(zero_copy_only=False).astype(object)[:, None]
    return predictions_of(model.signature, model.answers({taken.name: rows}))


def test_a_network_learns_the_classes_of_texts(trained_here, reviews, network):
    result = trained_here(CLASSIFIER, reviews, pretrained=str(network), **LEARNED)

    assert result.signature.runtime == "transformers"
    assert result.metrics["test_accuracy"] > 0.9
    assert result.metrics["validation_accuracy"] > 0.9
    assert [column.name for column in result.signature.columns] == ["text"]
    asked = ["superb lovely film", "", "boring dull plot " * 100]
    assert predictions(result, asked)[::2] == ["good", "bad"]


def test_a_network_learns_a_number_from_texts_by_the_weights_of_rows(
    trained_here, tmp_path, network
):
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

    result = trained_here(CLASSIFIER, rated, pretrained=str(network), **LEARNED)

    assert result.metrics["test_rmse"] < result.metrics["baseline_rmse"] / 2


def test_a_network_of_another_kind_or_without_words_is_refused(trained_here, reviews, tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    small = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16)
    ViTForImageClassification(small).save_pretrained(tmp_path / "vit")
    with pytest.raises(Refused, match=r"is a vit \(ViTForImageClassification\), expected a model"):
        trained_here(CLASSIFIER, reviews, pretrained=str(tmp_path / "vit"), **LEARNED)

    folder = bert(tmp_path / "mute", ["word"])
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(Refused, match="has no tokenizer, or one that knows no word"):
        trained_here(CLASSIFIER, reviews, pretrained=str(folder), **LEARNED)


def test_of_several_texts_the_column_is_named(trained_here, tmp_path, network):
    table = opinions(100)
    twice = table.append_column("title", table.column("text"))
    both = files_of(twice, "opinion", tmp_path / "both")

    with pytest.raises(Refused, match="expected one that the model reads"):
        trained_here(CLASSIFIER, both, pretrained=str(network), **LEARNED)

    result = trained_here(
        CLASSIFIER, both, pretrained=str(network), column="title", **{**LEARNED, "epochs": 1}
    )
    assert [column.name for column in result.signature.columns] == ["title"]


def test_a_finished_text_classifier_is_brought_with_its_classes(trained_here, reviews, tmp_path):
    # In another order than the dataset's.
    folder = bert(tmp_path / "given", words_of(opinions(300)), ["good", "bad"])

    result = trained_here("training.finished.trainer:train", reviews, model=str(folder))

    assert result.signature.runtime == "transformers"
    assert result.signature.classes == ["bad", "good"]
    assert result.signature.order == [1, 0]


def test_a_finished_text_classifier_that_cannot_serve_is_refused(trained_here, reviews, tmp_path):
    other = bert(tmp_path / "other", ["word"], ["no", "yes"])
    with pytest.raises(Refused, match="knows the classes no, yes, expected those of the dataset"):
        trained_here("training.finished.trainer:train", reviews, model=str(other))

    mute = bert(tmp_path / "mute", ["word"], ["bad", "good"])
    for file in mute.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(Refused, match="has no tokenizer, expected one beside the model"):
        trained_here("training.finished.trainer:train", reviews, model=str(mute))


@pytest.fixture
def asked(tmp_path) -> DatasetFiles:
    return files_of(
        questions(200),
        "answer",
        tmp_path / "asked",
        task="text-generation",
        split={"validation": 0.2},
    )


@pytest.fixture
def language_model(tmp_path) -> Path:
    return gpt(tmp_path / "gpt", words_of(questions(200)))


def test_a_language_model_learns_what_to_write_after_a_text(trained_here, asked, language_model):
    result = trained_here(
        WRITER, asked, pretrained=str(language_model), written=8, **{**LEARNED, "epochs": 16}
    )

    assert result.signature.task == "text-generation"
    assert result.metrics["test_exact_match"] > 0.9
    assert result.metrics["test_exact_match"] > result.metrics["baseline_exact_match"]
    assert 1 <= result.metrics["test_perplexity"] < 1.5
    assert 1 <= result.metrics["validation_perplexity"] < 1.5
    assert "samples.png" in {picture.name for picture in result.pictures}
    assert predictions(result, ["says the owl", "please " * 100 + "the cow", ""])[:2] == [
        "hoot soft",
        "moo loud",
    ]


def test_perplexity_is_that_of_the_network_itself(asked, language_model):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from engine.runtime.runtimes.transformers import Writer

    network = AutoModelForCausalLM.from_pretrained(language_model).eval()
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    before, text = "what says the cow", "moo loud"
    tokens = torch.tensor([tokenizer(f"{before} {text}")["input_ids"] + [tokenizer.eos_token_id]])
    labels = tokens.clone()
    labels[:, :4] = -100
    expected = network(tokens, labels=labels).loss.item()

    rows = {"text": np.array([[before], ["how"], [""]], object)}
    texts = np.array([text, "hoot soft woof", "x"], object)
    found = Writer(network, tokenizer).likelihoods(rows, texts)

    assert found[:, 1].tolist() == [3, 4, 2]
    assert found[0, 0] / found[0, 1] == pytest.approx(expected, rel=1e-5)


def test_a_dataset_without_texts_to_write_is_refused(
    trained_here, reviews, language_model, tmp_path
):
    with pytest.raises(Refused, match="for classification, expected texts to write: declare task"):
        trained_here(WRITER, reviews, pretrained=str(language_model), **LEARNED)
    with pytest.raises(UnusableColumns, match="of type double, expected the texts that a model"):
        files_of(wine(50), "price", tmp_path / "prices", task="text-generation")
    numbers = wine(50).select(["year", "grape"])
    with pytest.raises(UnusableColumns, match="no column but the label is of text"):
        files_of(numbers, "grape", tmp_path / "years", task="text-classification")


def test_few_texts_are_no_categories_where_the_task_is_one_of_texts(tmp_path):
    table = questions(200)
    plain = files_of(table, "answer", tmp_path / "plain")
    assert [column.kind for column in plain.columns] == ["category"]

    texts = files_of(table, "answer", tmp_path / "texts", task="text-classification")

    assert [column.kind for column in texts.columns] == ["text"]
    assert texts.task == "classification"


def test_a_model_that_writes_more_than_it_can_hold_is_refused(trained_here, asked, language_model):
    with pytest.raises(Refused, match="the model takes 32 tokens, expected more than the 64"):
        trained_here(WRITER, asked, pretrained=str(language_model), **LEARNED)


def test_the_table_trainer_says_which_trainer_writes_texts(trained_here, asked):
    with pytest.raises(ValueError, match=r"declare training\.language\.writer:train"):
        trained_here("training.tables:train", asked, learner="linear", iterations=5)
