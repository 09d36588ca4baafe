"""Networks of transformers that are tiny and have learned nothing, with tokenizers of few words."""

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

SPECIAL = ["[PAD]", "[UNK]", "[EOS]"]
LONGEST = 32


CHAT = (
    "{% for message in messages %}"
    "{{ '<' + message['role'] + '> ' + message['content'] + (' [EOS] ' if message['role'] == "
    "'assistant' else ' ') }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<assistant> ' }}{% endif %}"
)
"""A chat template."""


def tokenizer_of(words: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that knows these words."""
    names = [*SPECIAL, *dict.fromkeys(words)]
    vocabulary = {word: position for position, word in enumerate(names)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        eos_token="[EOS]",
        model_max_length=LONGEST,
    )


def bert(folder: Path, words: list[str], classes: list[str] = ["no", "yes"]) -> Path:  # noqa: B006
    """A text classifier in the folder."""
    import torch

    torch.manual_seed(0)
    tokenizer = tokenizer_of(words)
    names = dict(enumerate(classes))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LONGEST,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=len(classes),
        id2label=names,
        label2id={name: position for position, name in names.items()},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def gpt(folder: Path, words: list[str]) -> Path:
    """A language model in the folder."""
    import torch

    torch.manual_seed(0)
    tokenizer = tokenizer_of(words)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=LONGEST,
        n_embd=32,
        n_layer=1,
        n_head=2,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def llama(
    folder: Path, words: list[str], template: str | None = None, longest: int | None = None
) -> Path:
    """A language model with rotary positions in the folder, of so many tokens."""
    import torch

    torch.manual_seed(0)
    tokenizer = tokenizer_of(words)
    tokenizer.model_max_length = longest or tokenizer.model_max_length
    tokenizer.chat_template = template
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=longest or 2 * LONGEST,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
