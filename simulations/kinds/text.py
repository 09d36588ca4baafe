"""Held-out texts with slips of the keyboard, lost words, other letter cases, cuts and padding.

It asks the model as a service does, so it works on any model with a text column.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.random import Generator
from pydantic import Field

from engine.protocol import Refused
from projects.nearest import hint
from projects.suite import Severity
from simulations.kind import SuiteRun
from simulations.measured_rows import chosen_metrics, outcomes_of
from simulations.outcomes import Outcomes, Scenario
from simulations.row_suite import RowSuite, Scoring

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from simulations.evidence import Measurement

ChangeName = Literal["typos", "lost_words", "upper_case", "cut", "padding"]
GATED_UP_TO: dict[ChangeName, float] = {
    "typos": 0.02,
    "lost_words": 0.1,
    "upper_case": 0.1,
    "cut": 0.1,
    "padding": 0.25,
}
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


class _Piece(NamedTuple):
    """One scenario."""

    scenario: Scenario
    change: str = ""
    level: float = 0.0


class Text(RowSuite):
    """Held-out texts, changed by degrees; metrics: those of the model's task."""

    kind: Literal["text"]
    typos: list[Severity] = Field(default=[0.02, 0.05, 0.1])
    """Shares of characters that are lost, doubled, replaced, or change places with the next."""
    lost_words: list[Severity] = Field(default=[0.1, 0.25])
    """Shares of words that are left out."""
    upper_case: list[Severity] = Field(default=[0.1, 1.0])
    """Shares of words that are in capitals."""
    cut: list[Severity] = Field(default=[0.1, 0.5])
    """Shares of the words, at the end, that are cut off."""
    padding: list[float] = Field(default=[0.25, 1.0])
    """Words of other texts that are added at the end, as a share of the text's own."""
    gated_up_to: dict[ChangeName, float] = GATED_UP_TO
    """Largest level that is gated, by change; larger ones are measured and drawn. Changes that are
    not named here have the default."""
    columns: list[str] = []
    """Text columns that are changed; by default all."""
    rows: int = Field(default=2_000, ge=10)
    """Held-out rows tried, at most: a seeded draw of them."""

    def outcomes(self, run: SuiteRun) -> list[Outcomes]:
        """The metrics in every scenario."""
        signature = run.subject.signature
        metrics = chosen_metrics(self.measure, signature.task)
        known = [c.name for c in signature.columns if c.kind == "text"]
        texts = _chosen(self.columns, known)
        values, truth = run.held_out.drawn(self.rows, self.seeds[0])
        pieces = self._pieces()
        scores = self._scores(
            run, pieces, values, texts, lambda rows: run.subject.scores(rows, truth, metrics)
        )
        return outcomes_of(metrics, truth, [p.scenario for p in pieces], self.seeds, scores, {})

    def _pieces(self) -> list[_Piece]:
        limits = {**GATED_UP_TO, **self.gated_up_to}
        changed = [
            _Piece(
                Scenario(f"{name} {level:g}", {name: level}, gated=level <= limits[name]),
                name,
                level,
            )
            for name in GATED_UP_TO
            for level in getattr(self, name)
        ]
        return [_Piece(Scenario("clean", {}, gated=True)), *changed]

    def _scores(
        self,
        run: SuiteRun,
        pieces: list[_Piece],
        values: Mapping[str, np.ndarray],
        texts: list[str],
        scores_of: Scoring,
    ) -> dict[tuple[int, int], np.ndarray]:
        """The model's scores by positions of scenario and seed."""
        scores: dict[tuple[int, int], np.ndarray] = {}
        with run.trials(1 + (len(pieces) - 1) * len(self.seeds)) as trials:
            # Texts as they are need one answer, however many seeds there are.
            clean = trials.measure("clean", lambda: scores_of(values))
            for s, piece in enumerate(pieces):
                for k, seed in enumerate(self.seeds):
                    if not piece.change:
                        scores[s, k] = clean
                        continue
                    generator = np.random.default_rng([seed, s])
                    changed = {
                        name: _changed(values[name], piece, generator)
                        if name in texts
                        else values[name]
                        for name in values
                    }
                    scores[s, k] = trials.measure(
                        f"{piece.scenario.name}, seed {seed}",
                        lambda rows=changed: scores_of(rows),
                    )
        return scores

    def draw(self, measurements: "list[Measurement]") -> "dict[str, Figure]":
        """Each metric against the level of each change."""
        from simulations.pictures import curves

        lines = {
            name: {0.0: "clean", **{v: f"{name} {v:g}" for v in sorted(getattr(self, name))}}
            for name in GATED_UP_TO
            if getattr(self, name)
        }
        return {
            f"{metric}_against_level": curves(measurements, metric, lines, "level")
            for metric in dict.fromkeys(m.metric for m in measurements)
        }


def _chosen(declared: list[str], known: list[str]) -> list[str]:
    """The text columns to change. Raises Refused."""
    if not known:
        raise Refused(
            "the suite changes texts, and the model takes no text column; declare a suite of the "
            "kind tabular"
        )
    for name in declared:
        if name not in known:
            raise Refused(f"the suite changes {name!r}, no text column{hint(name, known)}")
    return declared or known


def _changed(texts: np.ndarray, piece: _Piece, generator: Generator) -> np.ndarray:
    """The texts after the change; a missing one stays so."""
    change, out = CHANGES[piece.change], texts.copy()
    for row, text in enumerate(texts):
        if text:
            other = texts[generator.integers(len(texts))] or ""
            out[row] = change(text, piece.level, generator, other)
    return out


def _typos(text: str, level: float, generator: Generator, _: str) -> str:
    letters: list[str] = list(text)
    for place in np.flatnonzero(generator.random(len(letters)) < level):
        slip = generator.integers(4)
        if slip == 0:
            letters[place] = ""
        elif slip == 1:
            letters[place] *= 2
        elif slip == 2:
            letters[place] = str(generator.choice(LETTERS))
        elif place + 1 < len(letters):
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def _lost_words(text: str, level: float, generator: Generator, _: str) -> str:
    words = text.split()
    kept = generator.random(len(words)) >= level
    return " ".join(word for word, stays in zip(words, kept, strict=True) if stays)


def _upper_case(text: str, level: float, generator: Generator, _: str) -> str:
    words = text.split()
    loud = generator.random(len(words)) < level
    return " ".join(w.upper() if up else w for w, up in zip(words, loud, strict=True))


def _cut(text: str, level: float, _: Generator, __: str) -> str:
    words = text.split()
    return " ".join(words[: max(1, round(len(words) * (1 - level)))])


def _padding(text: str, level: float, generator: Generator, other: str) -> str:
    words, more = text.split(), other.split()
    added = generator.permutation(len(more))[: round(len(words) * level)]
    return " ".join([*words, *(more[place] for place in sorted(added))])


CHANGES: Mapping[str, Callable[[str, float, Generator, str], str]] = {
    "typos": _typos,
    "lost_words": _lost_words,
    "upper_case": _upper_case,
    "cut": _cut,
    "padding": _padding,
}
"""What is done to one text at a level; the last argument is another text of the rows."""
KIND = Text
