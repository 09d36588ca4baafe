"""Language models by vLLM, which begins texts at any time and writes many at once on a GPU.

Services use it where the distribution `vllm` is installed and PyTorch finds a GPU; nothing else
loads it. The folder is the same that transformers reads.
"""

import importlib.util
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from . import networks
from .prompts import chat_of, prompt_of
from .tensors import Tensors
from .writing import LanguageModel, Prompt, Row, Sampling, written

AT_ONCE = 256
"""Texts that are written at once."""


def is_usable() -> bool:
    """Whether vLLM is installed, and there is a GPU for it."""
    return importlib.util.find_spec("vllm") is not None and networks.device() == "cuda"


class VllmWriter(LanguageModel):
    """A language model in an engine of vLLM, which the threads of all protocols step together."""

    def __init__(self, place: Path, most: int) -> None:
        """`most` tokens are written where a request does not say."""
        vllm: Any = importlib.import_module("vllm")
        arguments = vllm.EngineArgs(
            model=str(place), trust_remote_code=False, load_format="safetensors"
        )
        self._engine = vllm.LLMEngine.from_engine_args(arguments)
        self._sampling_params = vllm.SamplingParams
        self._outputs = importlib.import_module("vllm.sampling_params").RequestOutputKind
        self._tokenizer = networks.tokenizer_in(place)
        self.longest = self._engine.get_model_config().max_model_len
        self.written = min(most, self.longest - 1)
        self._names = count()
        self._begun: dict[str, Row] = {}
        self._alone = threading.Lock()

    def answers(self, tensors: Tensors) -> np.ndarray:
        """What follows each text: texts [rows]."""
        (texts,) = tensors.values()
        room = self.longest - self.written
        prompts = [self.prompt(text) for text in texts.reshape(len(texts)).tolist()]
        kept = [Prompt(prompt.text, prompt.tokens[-room:]) for prompt in prompts]
        return np.array(written(self, kept), object)

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
        """Whether the rows can be written at once."""
        return len(rows) <= AT_ONCE

    def write(self, rows: list[Row], more: Callable[[], list[Row]]) -> None:
        """Write the rows, and those that come meanwhile."""
        mine = list(rows)
        self._begin(rows)
        while mine:
            self._step()
            mine = [row for row in mine if not row.is_done]
            if mine and (came := more()):
                self._begin(came)
                mine += came

    def _begin(self, rows: Sequence[Row]) -> None:
        with self._alone:
            for row in rows:
                name = str(next(self._names))
                self._begun[name] = row
                given = {"prompt_token_ids": row.prompt}
                self._engine.add_request(name, given, self._params(row.sampling))

    def _params(self, sampling: Sampling) -> Any:
        # Stops are looked for in the row, as for every model.
        return self._sampling_params(
            max_tokens=sampling.most,
            temperature=sampling.temperature,
            top_p=sampling.top_p or 1e-9,
            seed=sampling.seed,
            output_kind=self._outputs.DELTA,
        )

    def _step(self) -> None:
        """Write a token of every row that was begun, whoever began it."""
        with self._alone:
            for output in self._engine.step():
                row, (told,) = self._begun.get(output.request_id), output.outputs
                if row and told.token_ids and not row.is_done:
                    *before, last = told.token_ids
                    for token in before:
                        row.add(token, is_end=False)
                    row.add(last, is_end=told.finish_reason == "stop")
            done = [name for name, row in self._begun.items() if row.is_done]
            if done:
                self._engine.abort_request(done)
                for name in done:
                    del self._begun[name]
