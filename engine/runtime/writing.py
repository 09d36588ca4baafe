"""Texts that a language model writes token by token, for whoever reads them while they grow."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from .runtime import Loaded

Ending = Literal["stop", "length"]
"""Why a text ends: as the model or a stop says, or because it may not be longer."""
UNFINISHED = "\ufffd"
"""What a tokenizer gives for bytes that are no whole character yet."""


class Sampling(NamedTuple):
    """How a text is written."""

    most: int
    """Tokens that are written at most."""
    temperature: float = 0.0
    """0 for the most likely token each time."""
    top_p: float = 1.0
    """Tokens are drawn of the most likely ones that have this share together."""
    seed: int | None = None
    """Of the draws; without one each text has its own."""
    stops: tuple[str, ...] = ()
    """Texts before which the text ends."""


class Prompt(NamedTuple):
    """What is gone on with."""

    text: str
    tokens: list[int]


class Part(NamedTuple):
    """What has been written since the part before."""

    text: str
    tokens: int
    """Written so far."""
    ending: Ending | None
    """Of the last part."""


class Row:
    """A text that is to be written."""

    def __init__(
        self,
        tokens: list[int],
        sampling: Sampling,
        decode: Callable[[list[int]], str],
        tell: Callable[[Part], None],
    ) -> None:
        """`tell` hears every part, in the thread that writes."""
        self.prompt, self.sampling = tokens, sampling
        self.ending: Ending | None = None
        self._decode, self._tell = decode, tell
        self._tokens: list[int] = []
        self._start = self._read = 0
        self._held = ""
        self._is_given_up = False

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to be written."""
        return self.ending is not None or self._is_given_up

    def give_up(self) -> None:
        """Write no more: nobody reads it."""
        self._is_given_up = True

    def add(self, token: int, *, is_end: bool) -> None:
        """Take the next token, which may end the text as the model says."""
        self._tokens.append(token)
        if is_end:
            self.ending = "stop"
        elif len(self._tokens) >= self.sampling.most:
            self.ending = "length"
        self.take(self._decoded(is_end=is_end), len(self._tokens), self.ending)

    def take(self, text: str, tokens: int, ending: Ending | None) -> None:
        """Take more of the text, of so many tokens in all."""
        self.ending = ending
        self._held += text
        known = [place for stop in self.sampling.stops if (place := self._held.find(stop)) >= 0]
        if known:
            self._held, self.ending = self._held[: min(known)], "stop"
        certain = len(self._held) - (0 if self.ending else self._uncertain())
        text, self._held = self._held[:certain], self._held[certain:]
        if text or self.ending:
            self._tell(Part(text, tokens, self.ending))

    def _decoded(self, *, is_end: bool) -> str:
        """The text of the tokens that were not read yet, once it is whole characters.

        Tokens are decoded with those before them, on which their spaces depend.
        """
        tokens = self._tokens[:-1] if is_end else self._tokens
        before = self._decode(tokens[self._start : self._read])
        text = self._decode(tokens[self._start :])
        if not self.ending and text.endswith(UNFINISHED):
            return ""
        if len(text) > len(before):
            # A special token has no text, and the space of the next depends on a word before.
            self._start = self._read
        self._read = len(tokens)
        return text[len(before) :]

    def _uncertain(self) -> int:
        """Characters at the end with which a stop may begin."""
        longest = max(map(len, self.sampling.stops), default=1) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self.sampling.stops):
                return size
        return 0


class LanguageModel(Loaded):
    """A model that writes texts."""

    longest: int
    """Tokens of a prompt and what follows it, at most."""
    written: int
    """Tokens that are written where a request does not say."""

    @abstractmethod
    def prompt(self, text: str) -> Prompt:
        """The text as it is gone on with."""

    @abstractmethod
    def chat(self, messages: Sequence[dict[str, str]]) -> Prompt:
        """Messages (`role`, `content`) as the model reads them, up to its answer.

        Raises BadRequest where its template refuses them.
        """

    @abstractmethod
    def decode(self, tokens: list[int]) -> str:
        """Text of the tokens, without special ones."""

    @abstractmethod
    def fits(self, rows: Sequence[Row]) -> bool:
        """Whether the rows can be written together."""

    @abstractmethod
    def write(self, rows: list[Row], more: Callable[[], list[Row]]) -> None:
        """Write the rows, until all are done. `more` gives rows that came meanwhile, for a model
        that can begin them at any time."""


def written(model: LanguageModel, prompts: Sequence[Prompt]) -> list[str]:
    """What the model writes after each prompt, by the most likely token each time."""
    texts: list[list[str]] = [[] for _ in prompts]

    def teller(place: int) -> Callable[[Part], None]:
        return lambda part: texts[place].append(part.text)

    waiting = [
        Row(prompt.tokens, Sampling(model.written), model.decode, teller(place))
        for place, prompt in enumerate(prompts)
    ]
    while waiting:
        batch = [waiting.pop(0)]
        while waiting and model.fits([*batch, waiting[0]]):
            batch.append(waiting.pop(0))
        model.write(batch, list)
    return ["".join(parts) for parts in texts]
