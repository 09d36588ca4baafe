"""Networks of transformers and their tokenizers, from a folder of `save_pretrained`."""

from pathlib import Path
from typing import Any


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


def device() -> str:
    """Where networks run: on a GPU where PyTorch finds one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def longest_of(tokenizer: Any, config: Any) -> int:
    """Tokens that the network takes."""
    return min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", 1 << 20))


def tokens_of(tokenizer: Any, config: Any, text: str) -> list[int]:
    """Numbers of the text's tokens, at most as many as the network takes; at least one."""
    longest = longest_of(tokenizer, config)
    tokens = tokenizer(text, truncation=True, max_length=longest)["input_ids"]
    return tokens or [padding_of(tokenizer)]


def padding_of(tokenizer: Any) -> int:
    """Number of the token that fills rows up, which a network is told to leave out."""
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(each for each in known if each is not None)


def padded(
    batch: list[list[int]], tokenizer: Any, device: str, *, is_left: bool = False
) -> dict[str, Any]:
    """Tensors `input_ids` and `attention_mask` [texts, tokens], filled up on the right or left."""
    import torch

    longest = max(len(each) for each in batch)
    ids = torch.full((len(batch), longest), padding_of(tokenizer), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(batch):
        place = slice(longest - len(tokens), None) if is_left else slice(len(tokens))
        ids[row, place] = torch.tensor(tokens)
        mask[row, place] = 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
