"""Language models learn from conversations what the assistant says."""

import json

import pyarrow as pa
import pytest

from engine.artefact import read_signature
from engine.protocol import Refused
from engine.runtime.model import Model
from engine.runtime.predictions import predictions_of
from tests.training.tables import files_of, questions
from tests.training.tiny_networks import CHAT, llama, tokenizer_of
from training.contract import DatasetFiles

WRITER = "training.language.writer:train"
WORDS = ["<user>", "<assistant>", "<", ">", "user", "assistant", "and", "you", "?"]


def conversations(rows: int) -> pa.Table:
    """Conversations of two answers, each decided by the animal that is asked for."""
    table = questions(2 * rows).to_pylist()
    return pa.table(
        {
            "messages": [
                [
                    {"role": "user", "content": first["question"]},
                    {"role": "assistant", "content": first["answer"]},
                    {"role": "user", "content": f"and you ? {second['question']}"},
                    {"role": "assistant", "content": second["answer"]},
                ]
                for first, second in zip(table[::2], table[1::2], strict=True)
            ]
        }
    )


def words() -> list[str]:
    texts = [text for row in questions(200).to_pylist() for text in row.values()]
    return [*WORDS, *(word for text in texts for word in text.split())]


@pytest.fixture
def talks(tmp_path) -> DatasetFiles:
    return files_of(
        conversations(120),
        "messages.answer",
        tmp_path / "talks",
        task="text-generation",
        split={"validation": 0.2},
    )


def learned_texts(tokenizer, template: str, messages: list[dict]) -> list[str]:
    """What is learned of the conversation, in each example."""
    from training.language.forms import Chat

    tokenizer.chat_template = template
    *said, last = messages
    examples = Chat(tokenizer).examples(json.dumps(said), last["content"], 1.0, 100)
    return [tokenizer.decode([token for token in each.targets if token >= 0]) for each in examples]


def test_a_conversation_is_answered_as_the_assistant_did(trained_here, talks, tmp_path):
    network = llama(tmp_path / "llama", words(), CHAT)
    declared = {"epochs": 25, "learning_rate": 1e-2, "batch_size": 16, "written": 8}

    result = trained_here(WRITER, talks, pretrained=str(network), **declared)

    assert result.metrics["test_exact_match"] > 0.9
    assert result.metrics["validation_perplexity"] < result.metrics["validation_perplexity_before"]
    (samples,) = [each for each in result.pictures if each.name == "samples.txt"]
    assert "--- given\nuser: " in samples.read_text()
    model = Model(result.artefact)
    (taken,) = read_signature(result.artefact).inputs
    # Plain text is what a user says.
    asked = ["what says the owl", json.dumps([{"role": "user", "content": "how says the cow"}])]
    rows = pa.array(asked).to_numpy(zero_copy_only=False)[:, None]
    given = predictions_of(model.signature, model.answers({taken.name: rows}))
    assert given == ["hoot soft", "moo loud"]


def test_only_what_the_assistant_says_is_learned():
    tokenizer = tokenizer_of(words())
    (talk,) = conversations(1).column("messages").to_pylist()

    learned = learned_texts(tokenizer, CHAT, talk)

    first, second = talk[1]["content"], talk[3]["content"]
    assert learned == [f"{first} [EOS] {second} [EOS]"]


def test_answers_that_are_written_otherwise_later_are_examples_of_their_own():
    tokenizer = tokenizer_of([*words(), "!"])
    (talk,) = conversations(1).column("messages").to_pylist()
    # As templates that leave the thoughts of earlier answers out.
    forgets = CHAT.replace("' [EOS] '", "(' ! [EOS] ' if loop.last else ' [EOS] ')")

    learned = learned_texts(tokenizer, forgets, talk)

    first, second = talk[1]["content"], talk[3]["content"]
    assert learned == [f"{first} ! [EOS]", f"{second} ! [EOS]"]


def test_a_model_without_a_chat_template_is_refused(learned_here, talks, tmp_path):
    network = llama(tmp_path / "llama", words())

    with pytest.raises(Refused, match="the tokenizer has no chat template"):
        learned_here(WRITER, talks, pretrained=str(network), epochs=1, written=8)


def test_a_conversation_that_the_template_does_not_take_is_named(learned_here, talks, tmp_path):
    strict = "{{ raise_exception('roles must alternate') }}"
    network = llama(tmp_path / "llama", words(), strict)

    with pytest.raises(Refused, match=r"of user, assistant, user, assistant: roles must alternate"):
        learned_here(WRITER, talks, pretrained=str(network), epochs=1, written=8)
