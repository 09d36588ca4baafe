"""Adaptive batching: what arrives while the model is busy shares its next call.

No request waits for others on purpose. The quickest models are called for each request, because
that takes less than to gather some. A fast model runs inside the event loop, where all requests
that were read in one turn form a batch; a slow one runs in a thread, and the requests that arrive
meanwhile form the next.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
from runtime.tensors import Tensors, joined, rows_in

QUICK_S = 0.0001
"""A model whose call takes less is called for each request."""
INLINE_S = 0.001
"""A model whose call takes less runs inside the event loop."""


class Batcher:
    """Calls the model for many requests at once."""

    def __init__(
        self,
        model: Callable[[Tensors], np.ndarray],
        max_rows: int,
        observe: Callable[[int], None],
    ) -> None:
        self._model, self._max_rows, self._observe = model, max_rows, observe
        self._waiting: deque[tuple[Tensors, asyncio.Future]] = deque()
        self._is_scheduled = False
        self._pace_s = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    @property
    def is_quick(self) -> bool:
        """Whether the model is called for each request."""
        return self._pace_s < QUICK_S and not self._is_scheduled

    def outputs_at_once(self, rows: Tensors) -> np.ndarray:
        """Outputs of a quick model for the rows. Raises what the model does."""
        self._observe(rows_in(rows))
        outputs = self._timed(rows)
        if isinstance(outputs, Exception):
            raise outputs
        return outputs

    async def outputs(self, rows: Tensors) -> np.ndarray:
        """Outputs of the model for the rows. Raises what the model does."""
        if self.is_quick:
            return self.outputs_at_once(rows)
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._waiting.append((rows, answer))
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._call)
        return await answer

    def _call(self) -> None:
        batch = self._take()
        rows = joined([tensors for tensors, _ in batch])
        self._observe(rows_in(rows))
        if self._pace_s < INLINE_S:
            self._deliver(batch, self._timed(rows))
            return
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._timed, rows)
        running.add_done_callback(lambda done: self._deliver(batch, done.result()))

    def _take(self) -> list[tuple[Tensors, asyncio.Future]]:
        batch = [self._waiting.popleft()]
        count = rows_in(batch[0][0])
        while self._waiting and count + rows_in(self._waiting[0][0]) <= self._max_rows:
            batch.append(self._waiting.popleft())
            count += rows_in(batch[-1][0])
        return batch

    def _timed(self, rows: Tensors) -> np.ndarray | Exception:
        started = perf_counter()
        try:
            return self._model(rows)
        except Exception as error:
            return error
        finally:
            self._pace_s += 0.2 * (perf_counter() - started - self._pace_s)

    def _deliver(
        self, batch: list[tuple[Tensors, asyncio.Future]], outputs: np.ndarray | Exception
    ) -> None:
        start = 0
        for rows, answer in batch:
            if answer.done():
                pass  # The client has gone.
            elif isinstance(outputs, Exception):
                answer.set_exception(outputs)
            else:
                answer.set_result(outputs[start : start + rows_in(rows)])
            start += rows_in(rows)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._call)
        else:
            self._is_scheduled = False
