"""Texts that wait to be written, and the thread that writes them.

Those that wait while some are written are written together next, as many as the model can.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from prometheus_client import Gauge
from runtime.bad_request import BadRequest
from runtime.writing import LanguageModel, Part, Prompt, Row, Sampling

MOST_WAITING = 128
"""Texts that may wait."""
BUSY = 503
WAITING = Gauge("predict_waiting_texts", "Texts that wait to be written.")


class Busy(BadRequest):
    """Too many texts wait."""

    def __init__(self, count: int, waiting: int) -> None:
        text = f"{waiting} texts wait to be written, of at most {MOST_WAITING}"
        super().__init__(f"{text}, so there is no room for {count} more; ask again soon", BUSY)


class Told(NamedTuple):
    """A part of one of several texts."""

    place: int
    part: Part


class Queue:
    """Writes texts with one model, in a thread of its own."""

    def __init__(self, model: LanguageModel, observe: Callable[[int], None]) -> None:
        """`observe` hears how many texts are begun together."""
        self._model, self._observe = model, observe
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Row, Written]] = deque()
        self._begun: dict[Row, Written] = {}
        WAITING.set_function(lambda: len(self._waiting))
        threading.Thread(target=self._write_for_ever, name="writing", daemon=True).start()

    def admit(self, prompts: Sequence[Prompt], samplings: Sequence[Sampling]) -> "Written":
        """The texts that follow the prompts, from now on. Raises Busy."""
        written = Written(self._model, prompts, samplings)
        with self._changed:
            waiting = len(self._waiting)
            if waiting + len(written.rows) > MOST_WAITING:
                raise Busy(len(written.rows), waiting)
            self._waiting.extend((row, written) for row in written.rows)
            self._changed.notify()
        return written

    def _write_for_ever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
            if not (rows := self._more()):
                continue
            self._observe(len(rows))
            try:
                self._model.write(rows, self._more)
            # Whatever a model raises, the next texts are written.
            except Exception as error:
                for written in set(self._begun.values()):
                    written.fail(error)
            self._begun = {}

    def _more(self) -> list[Row]:
        """Rows to begin now: the one that has waited longest, and those that fit beside it."""
        self._begun = {row: of for row, of in self._begun.items() if not row.is_done}
        taken: list[Row] = []
        with self._changed:
            waiting = [(row, of) for row, of in self._waiting if not row.is_done]
            self._waiting.clear()
            for row, written in waiting:
                if not self._begun or self._model.fits([*self._begun, row]):
                    self._begun[row] = written
                    taken.append(row)
                else:
                    self._waiting.append((row, written))
        return taken


class Written:
    """Texts of one request, as the event loop reads them while they grow."""

    def __init__(
        self, model: LanguageModel, prompts: Sequence[Prompt], samplings: Sequence[Sampling]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[Told | Exception] = asyncio.Queue()
        self.rows = [
            Row(prompt.tokens, sampling, model.decode, self._teller(place))
            for place, (prompt, sampling) in enumerate(zip(prompts, samplings, strict=True))
        ]

    async def parts(self, pause_s: float) -> AsyncIterator[Told | None]:
        """Parts of all texts, to the last of each; None whenever there was none for so long.

        Raises what the model does.
        """
        left = len(self.rows)
        while left:
            try:
                async with asyncio.timeout(pause_s):
                    told = await self._told.get()
            except TimeoutError:
                yield None
                continue
            if isinstance(told, Exception):
                raise told
            left -= told.part.ending is not None
            yield told

    def give_up(self) -> None:
        """Nobody reads them."""
        for row in self.rows:
            row.give_up()

    def fail(self, error: Exception) -> None:
        """The model has raised an error; in the thread that writes."""
        self._put(error)

    def _teller(self, place: int) -> Callable[[Part], None]:
        return lambda part: self._put(Told(place, part))

    def _put(self, told: Told | Exception) -> None:
        try:
            self._loop.call_soon_threadsafe(self._told.put_nowait, told)
        except RuntimeError:
            # The event loop has ended, and with it whoever reads.
            self.give_up()
