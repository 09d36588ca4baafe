"""Networks for texts with their tokenizers, by transformers."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import networks, vllm_writer
from ..drawing import drawing
from ..prompts import chat_of, prompt_of
from ..runtime import Loaded, Runtime
from ..signature import Signature
from ..tensors import Tensors
from ..writing import LanguageModel, Prompt, Row

INPUT = "text"
"""Name of the input."""
AT_ONCE = 32
"""Texts in one call of the network."""
SCALE = "answer_scale"
"""Where a configuration keeps mean and standard deviation of the numbers that were learned, which
the network gives in standard deviations from the mean."""
WRITTEN = 64
"""Tokens that are written at most, where the model does not say."""
LEFT_OUT = -100
"""Target of a token that is not learned, as PyTorch's cross-entropy has it."""


class Transformers(Runtime):
    """Takes texts; runs on a GPU where PyTorch finds one.

    The folder is what `save_pretrained` of a model and of its tokenizer writes: weights are read
    from safetensors alone, and code that lies beside them is not run.
    """

    model = "transformers"
    requirements = ("safetensors", "tokenizers", "torch", "transformers")

    def load(self, place: Path, signature: Signature) -> Loaded:
        """The classifier in the folder, or the language model."""
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

        tokenizer = networks.tokenizer_in(place)
        if signature["task"] == "text-generation":
            return Writer(networks.loaded(AutoModelForCausalLM, place), tokenizer)
        network = networks.loaded(AutoModelForSequenceClassification, place)
        return TextClassifier(network, tokenizer)

    def load_to_serve(self, place: Path, signature: Signature) -> Loaded:
        """The same; a language model in vLLM where that can be used."""
        if signature["task"] != "text-generation" or not vllm_writer.is_usable():
            return self.load(place, signature)
        from transformers import GenerationConfig

        says = GenerationConfig.from_pretrained(place, local_files_only=True).max_new_tokens
        return vllm_writer.VllmWriter(place, says or WRITTEN)


class TextClassifier(Loaded):
    """A network that gives scores, or a number, for a text."""

    def __init__(self, network: Any, tokenizer: Any) -> None:
        self._device = networks.device()
        self._network = network.to(self._device).eval()
        self._tokenizer = tokenizer

    def answers(self, tensors: Tensors) -> np.ndarray:
        """Scores [texts, classes], or numbers [texts, 1], float32."""
        import torch

        config = self._network.config
        texts = _texts(tensors)
        tokens = [networks.tokens_of(self._tokenizer, config, text) for text in texts]
        parts, order = [], _by_length(tokens)
        # Not in inference mode, in which no weights of several workers can be brought together.
        with torch.no_grad():
            for chosen in _parts(order):
                batch = [tokens[place] for place in chosen]
                given = networks.padded(batch, self._tokenizer, self._device)
                parts.append(self._network(**given).logits.float().cpu().numpy())
        mean, deviation = getattr(config, SCALE, (0.0, 1.0))
        scores = np.concatenate(parts) * np.float32(deviation) + np.float32(mean)
        return scores[np.argsort(order, kind="stable")]


class Writer(LanguageModel):
    """A language model that goes on with a text, by the most likely token each time where nothing
    else is asked for."""

    def __init__(self, network: Any, tokenizer: Any) -> None:
        self._device = networks.device()
        self._network = network.to(self._device).eval()
        self._tokenizer = tokenizer
        self.longest = networks.longest_of(tokenizer, network.config)
        says = getattr(network.generation_config, "max_new_tokens", None)
        self.written = min(says or WRITTEN, self.longest - 1)
        ends = network.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [ends])
        # Requests of several protocols come in threads of their own, and a network keeps a state
        # while it writes.
        self._alone = threading.Lock()

    def answers(self, tensors: Tensors) -> np.ndarray:
        """What follows each text: texts [rows]."""
        room = self.longest - self.written
        # The end of a text that is too long decides what follows.
        tokens = [prompt_of(self._tokenizer, text)[-room:] for text in _texts(tensors)]
        order = _by_length(tokens)
        written = np.empty(len(tokens), object)
        for chosen in _parts(order):
            new = self._generated([tokens[place] for place in chosen], self.written)
            written[chosen] = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        return written

    def prompt(self, text: str) -> Prompt:
        """The text as it is gone on with."""
        return Prompt(text, prompt_of(self._tokenizer, text))

    def chat(self, messages: Sequence[dict[str, str]]) -> Prompt:
        """The messages by the chat template of the tokenizer. Raises BadRequest."""
        return chat_of(self._tokenizer, messages)

    def decode(self, tokens: list[int]) -> str:
        """Text of the tokens, without special ones."""
        return self._tokenizer.decode(tokens, skip_special_tokens=True)

    def fits(self, rows: Sequence[Row]) -> bool:
        """Whether none of the rows gets a place that the network does not know while the longest
        is written."""
        longest = max(len(row.prompt) for row in rows)
        return (
            len(rows) <= AT_ONCE
            and longest + max(row.sampling.most for row in rows) <= self.longest
        )

    def write(self, rows: list[Row], more: Callable[[], list[Row]]) -> None:
        """Write the rows together; those that come meanwhile wait."""
        most = max(row.sampling.most for row in rows)
        self._generated(
            [row.prompt for row in rows],
            most,
            logits_processor=[drawing(rows, self._device)],
            stopping_criteria=[self._heard(rows)],
        )

    def _heard(self, rows: list[Row]) -> Callable[..., Any]:
        """Gives the newest token to each row, and says which are done: bool [rows]."""
        import torch

        def hear(tokens: Any, scores: Any, **_: Any) -> Any:
            for row, token in zip(rows, tokens[:, -1].tolist(), strict=True):
                if not row.is_done:
                    row.add(token, is_end=token in self._ends)
            return torch.tensor([row.is_done for row in rows], device=tokens.device)

        return hear

    def _generated(self, batch: list[list[int]], most: int, **more: Any) -> Any:
        """Tokens that follow each of the batch, at most so many: int64 [rows, tokens]."""
        import torch

        given = networks.padded(batch, self._tokenizer, self._device, is_left=True)
        with self._alone, torch.inference_mode():
            made = self._network.generate(
                **given,
                max_new_tokens=most,
                do_sample=False,
                num_beams=1,
                pad_token_id=networks.padding_of(self._tokenizer),
                **more,
            )
        return made[:, given["input_ids"].shape[1] :]

    def likelihoods(self, tensors: Tensors, texts: np.ndarray) -> np.ndarray:
        """Sum of the negative log-likelihoods (nats) of the tokens of the texts, each after the
        text of its row, and how many tokens these are: float64 [rows, 2]."""
        import torch

        pairs = [
            continued(self._tokenizer, self.longest, before, text)
            for before, text in zip(_texts(tensors), texts, strict=True)
        ]
        found = np.zeros((len(pairs), 2))
        # Not in inference mode, in which no weights of several workers can be brought together.
        with torch.no_grad():
            for chosen in _parts(_by_length([tokens for tokens, _ in pairs])):
                batch = [pairs[place] for place in chosen]
                found[chosen] = (
                    losses_of(self._network, self._tokenizer, batch, self._device)
                    .double()
                    .cpu()
                    .numpy()
                )
        return found


def continued(tokenizer: Any, longest: int, before: str, text: str) -> tuple[list[int], int]:
    """Tokens of a text and of what follows it, with the token that ends it, and how many of them
    come before; what is too long loses the beginning of the first, then the end of the second."""
    follows = tokenizer(text, add_special_tokens=False)["input_ids"]
    if tokenizer.eos_token_id is not None:
        follows = [*follows, tokenizer.eos_token_id]
    follows = follows[: longest - 1]
    first = prompt_of(tokenizer, before)[-(longest - len(follows)) :]
    return [*first, *follows], len(first)


def losses_of(network: Any, tokenizer: Any, batch: list[tuple[list[int], int]], device: str) -> Any:
    """Sum of the negative log-likelihoods of what follows in each row, and its number of tokens:
    float32 [rows, 2]."""
    import torch
    from torch.nn import functional

    given = networks.padded([tokens for tokens, _ in batch], tokenizer, device)
    targets = given["input_ids"].masked_fill(given["attention_mask"] == 0, LEFT_OUT)
    for row, (_, before) in enumerate(batch):
        targets[row, :before] = LEFT_OUT
    # The token at a place is predicted from those before it.
    scores, targets = network(**given).logits[:, :-1].float(), targets[:, 1:]
    losses = functional.cross_entropy(
        scores.transpose(1, 2), targets, ignore_index=LEFT_OUT, reduction="none"
    )
    return torch.stack([losses.sum(1), (targets != LEFT_OUT).sum(1).to(losses)], dim=1)


def _texts(tensors: Tensors) -> list[str]:
    (texts,) = tensors.values()
    return texts.reshape(len(texts)).tolist()


def _by_length(tokens: list[list[int]]) -> np.ndarray:
    """Order in which texts of like length share a call, so that little of it is padding."""
    return np.argsort([len(each) for each in tokens], kind="stable")


def _parts(order: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(order), AT_ONCE):
        yield order[start : start + AT_ONCE]


RUNTIME = Transformers()
