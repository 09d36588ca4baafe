"""What may be declared of how a network of texts learns."""

import errno
from pathlib import Path

import pytest

from engine.model_hub import NoSuchModel, resolve
from engine.protocol import Refused
from tests.model_hub import serving_hub
from tests.training.tables import files_of, opinions, questions
from tests.training.tiny_networks import bert, gpt, llama
from training.contract import DatasetFiles

CLASSIFIER = "training.language.classifier:train"
WRITER = "training.language.writer:train"
ROWS = 80
FEW = {"epochs": 2, "learning_rate": 5e-3, "batch_size": 16, "written": 8}


def words_of(table) -> list[str]:
    return [word for row in table.to_pylist() for text in row.values() for word in text.split()]


@pytest.fixture
def asked(tmp_path) -> DatasetFiles:
    return files_of(
        questions(ROWS),
        "answer",
        tmp_path / "asked",
        task="text-generation",
        split={"validation": 0.2},
    )


@pytest.fixture
def language_model(tmp_path) -> Path:
    return gpt(tmp_path / "gpt", words_of(questions(ROWS)))


@pytest.fixture
def without_dropout(tmp_path) -> Path:
    """A language model that gives the same for a row in any batch."""
    return llama(tmp_path / "llama", words_of(questions(ROWS)))


def state_of(checkpoint: Path) -> dict:
    """The tensors of the checkpoint, by name."""
    from torch.distributed.checkpoint import FileSystemReader

    found = FileSystemReader(checkpoint / "state").read_metadata().state_dict_metadata
    return {k: v.size.numel() for k, v in found.items() if hasattr(v, "size")}


def test_several_small_batches_learn_what_a_large_one_does(learned_here, asked, without_dropout):
    declared = {**FEW, "pretrained": str(without_dropout)}
    whole, _ = learned_here(WRITER, asked, **declared)

    divided, _ = learned_here(WRITER, asked, **{**declared, "batch_size": 4, "accumulate": 4})

    for name in ("loss", "validation_perplexity"):
        assert divided[name] == pytest.approx(whole[name], rel=1e-4)


def test_what_saves_memory_or_time_changes_little_of_what_is_learned(
    learned_here, asked, without_dropout, monkeypatch
):
    import torch

    compile_ = torch.compile
    # The compiler of machine code takes longer than all else here.
    eager = lambda network, **more: compile_(network, backend="eager", **more)  # noqa: E731
    monkeypatch.setattr(torch, "compile", eager)
    declared = {**FEW, "pretrained": str(without_dropout)}
    plain = learned_here(WRITER, asked, **declared)[0]["loss"]

    again, _ = learned_here(WRITER, asked, gradient_checkpointing=True, **declared)
    short, _ = learned_here(WRITER, asked, precision="bfloat16", compile=True, **declared)

    assert again["loss"] == pytest.approx(plain, rel=1e-5)
    assert short["loss"] == pytest.approx(plain, rel=0.02)
    assert short["loss"] != plain


@pytest.mark.parametrize("network", [gpt, llama])
def test_packed_texts_do_not_see_each_other(asked, tmp_path, network):
    from training.language.writer import Hyperparameters, Texts

    name = str(network(tmp_path / "network", words_of(questions(ROWS))))
    declared = {"pretrained": name, "epochs": 1, "written": 8}
    dataset = asked.model_dump(exclude={"test"})

    alone = Texts(dataset, Hyperparameters(**declared), name)
    packed = Texts(dataset, Hyperparameters(**declared, pack=True), name)

    every, rows = list(range(alone.rows)), list(range(packed.rows))
    assert packed.rows < alone.rows / 2
    assert packed.parts(rows) == alone.parts(every)
    loss = packed.loss(packed.network.eval(), rows).item()
    assert loss == pytest.approx(alone.loss(alone.network.eval(), every).item(), rel=1e-5)


def test_packed_texts_are_learned(learned_here, asked, language_model):
    declared = {**FEW, "epochs": 12, "batch_size": 2, "pack": True}

    metrics, _ = learned_here(WRITER, asked, pretrained=str(language_model), **declared)

    assert metrics["validation_perplexity"] < 3
    assert metrics["validation_perplexity_before"] > 10


def test_a_network_that_does_not_keep_packed_texts_apart_is_refused(
    trained_here, asked, language_model, monkeypatch
):
    from transformers import GPT2LMHeadModel

    real = GPT2LMHeadModel.forward

    def without_positions(self, *args, position_ids=None, **more):
        return real(self, *args, **more)

    monkeypatch.setattr(GPT2LMHeadModel, "forward", without_positions)

    with pytest.raises(Refused, match="a gpt2 does not keep texts in one row apart"):
        trained_here(WRITER, asked, pretrained=str(language_model), pack=True, **FEW)


def test_adapters_are_learned_and_added_to_the_network(trained_here, asked, language_model):
    from transformers import AutoModelForCausalLM

    lora = {"rank": 4, "alpha": 16, "targets": ["c_attn", "c_fc", "c_proj"]}
    learned = {**FEW, "epochs": 12, "learning_rate": 3e-2}

    result = trained_here(WRITER, asked, pretrained=str(language_model), lora=lora, **learned)

    after, before = (result.metrics[f"validation_perplexity{end}"] for end in ("", "_before"))
    assert after < 0.75 * before
    # The artefact is a network like any other, and what it was measured by is what was learned.
    assert result.metrics["test_perplexity"] == pytest.approx(after, rel=0.5)
    merged = AutoModelForCausalLM.from_pretrained(result.artefact / "transformers")
    names = {name for name, _ in merged.named_parameters()}
    original = AutoModelForCausalLM.from_pretrained(language_model)
    assert names == {name for name, _ in original.named_parameters()}
    weights = [name for name in state_of(result.checkpoint) if name.startswith("model.")]
    assert weights
    assert all("lora_" in name for name in weights)


def test_adapters_of_a_classifier_come_with_its_head(learned_here, tmp_path):
    table = opinions(200)
    reviews = files_of(table, "opinion", tmp_path / "reviews", split={"validation": 0.2})
    network = bert(tmp_path / "bert", words_of(table))
    learned = {"epochs": 8, "learning_rate": 2e-2, "batch_size": 16}

    metrics, checkpoint = learned_here(
        CLASSIFIER, reviews, pretrained=str(network), lora={}, **learned
    )

    assert metrics["validation_accuracy"] > 0.9
    kept = {name.split(".")[-2] for name in state_of(checkpoint) if name.startswith("model.")}
    assert not any(name.endswith("embeddings") for name in kept)
    assert any("classifier" in name for name in state_of(checkpoint))


def test_adapters_for_layers_that_are_not_there_are_refused(trained_here, asked, language_model):
    with pytest.raises(Refused, match=r"expected lora: targets .* c_attn, c_fc"):
        trained_here(
            WRITER, asked, pretrained=str(language_model), lora={"targets": ["q_proj"]}, **FEW
        )


def test_a_tokenizer_that_does_not_fit_its_network_is_refused(trained_here, asked, language_model):
    from tests.training.tiny_networks import tokenizer_of

    tokenizer_of([f"word{i}" for i in range(200)]).save_pretrained(language_model)

    with pytest.raises(Refused, match=r"tokens up to number 202, and its network knows"):
        trained_here(WRITER, asked, pretrained=str(language_model), **FEW)


def test_a_gated_model_without_a_token_is_refused_by_name(learned_here, asked, tmp_path):
    with serving_hub("acme/gated", "0" * 40, tmp_path / "hub", is_gated=True):
        with pytest.raises(Refused, match=r"accepted its terms; expected a token .* set HF_TOKEN"):
            learned_here(WRITER, asked, **{**FEW, "pretrained": "acme/gated"})
        with pytest.raises(NoSuchModel, match="accepted its terms"):
            resolve("acme/gated")


def test_a_full_disk_is_told_as_one(learned_here, asked, without_dropout, monkeypatch):
    from torch.distributed.checkpoint import FileSystemWriter

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileSystemWriter, "write_data", full)

    with pytest.raises(OSError, match="No space left"):
        learned_here(WRITER, asked, **{**FEW, "pretrained": str(without_dropout), "epochs": 1})
