"""Text models with their tokenizers, by transformers."""

from pathlib import Path
from typing import Any

import numpy as np

from ..runtime import Answering, Runtime
from ..signature import Signature
from ..tensors import Tensors

AT_ONCE = 32
"""Texts in one call of the network."""
SCALE = "answer_scale"
"""Where a configuration keeps mean and standard deviation of the numbers that were learned, which
the network gives in standard deviations from the mean."""


class Transformers(Runtime):
    """Takes texts; runs on a GPU where PyTorch finds one.

    The folder is what `save_pretrained` of a model and of its tokenizer writes: weights are read
    from safetensors alone, and code that lies beside them is not run.
    """

    model = "transformers"
    requirements = ("safetensors", "tokenizers", "torch", "transformers")

    def load(self, place: Path, signature: Signature) -> Answering:
        """The classifier in the folder."""
        from transformers import AutoModelForSequenceClassification

        classifier = TextClassifier(
            loaded(AutoModelForSequenceClassification, place), tokenizer_in(place)
        )

        def answers(tensors: Tensors) -> np.ndarray:
            (texts,) = tensors.values()
            return classifier.scores(texts.reshape(len(texts)).tolist())

        return answers


class TextClassifier:
    """A network that gives scores for tokens, with its tokenizer."""

    def __init__(self, network: Any, tokenizer: Any) -> None:
        import torch

        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = network.to(self._device).eval()
        self._tokenizer = tokenizer

    def scores(self, texts: list[str]) -> np.ndarray:
        """Scores [texts, classes], or numbers [texts, 1], float32."""
        import torch

        tokens = [tokens_of(self._tokenizer, self._network.config, text) for text in texts]
        # Texts of like length share a call, so that little of it is padding.
        order = np.argsort([len(each) for each in tokens], kind="stable")
        parts = []
        with torch.inference_mode():
            for start in range(0, len(order), AT_ONCE):
                batch = [tokens[place] for place in order[start : start + AT_ONCE]]
                padded = padded_to_longest(batch, self._tokenizer, self._device)
                parts.append(self._network(**padded).logits.float().cpu().numpy())
        mean, deviation = getattr(self._network.config, SCALE, (0.0, 1.0))
        scores = np.concatenate(parts) * np.float32(deviation) + np.float32(mean)
        return scores[np.argsort(order, kind="stable")]


def loaded(kind: Any, place: Path) -> Any:
    """The network of an Auto class of transformers in the folder."""
    from transformers.utils.logging import disable_progress_bar

    # Its bars are drawn into the logs of services.
    disable_progress_bar()
    return kind.from_pretrained(
        place, local_files_only=True, trust_remote_code=False, use_safetensors=True
    )


def tokenizer_in(place: Path) -> Any:
    """The tokenizer in the folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(place, local_files_only=True, trust_remote_code=False)


def tokens_of(tokenizer: Any, config: Any, text: str) -> list[int]:
    """Numbers of the text's tokens, at most as many as the network takes; at least one."""
    longest = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", 1 << 30))
    tokens = tokenizer(text, truncation=True, max_length=longest)["input_ids"]
    return tokens or [padding_of(tokenizer)]


def padding_of(tokenizer: Any) -> int:
    """Number of the token that fills rows up, which a network is told to leave out."""
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(each for each in known if each is not None)


def padded_to_longest(batch: list[list[int]], tokenizer: Any, device: str) -> dict[str, Any]:
    """Tensors `input_ids` and `attention_mask` [texts, tokens]."""
    import torch

    longest = max(len(each) for each in batch)
    ids = torch.full((len(batch), longest), padding_of(tokenizer), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


RUNTIME = Transformers()
