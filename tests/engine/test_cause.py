"""The cause of a failure in one word, and the lines that say so."""

import traceback

import pytest

from engine.cause import MOST_LINES, cause_of, lines_of
from engine.protocol import Diverged, Refused, TryAgain, UnusableRows


class OutOfMemoryError(RuntimeError):
    """As PyTorch and Ray name theirs."""


class ActorDiedError(Exception):
    """As Ray names its own."""


class NodeDiedError(ActorDiedError):
    """As Ray names its own."""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), "out_of_memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 TB"), "out_of_memory"),
        (ActorDiedError("the actor died"), "lost_worker"),
        (NodeDiedError("the node died"), "lost_node"),
        (Diverged("loss is nan"), "not_finite"),
        (UnusableRows("no rows"), "bad_data"),
        (TryAgain("the bucket is away"), "outage"),
        (Refused("no such trainer"), "refused"),
        (ValueError("out of memory is only a word here"), "exception"),
    ],
)
def test_every_error_has_a_cause(error, cause):
    assert cause_of(error) == cause


def test_the_cause_of_an_error_is_that_of_what_it_was_raised_from():
    try:
        try:
            raise OutOfMemoryError("CUDA out of memory")
        except OutOfMemoryError as error:
            raise Refused("the trainer failed on 4 workers") from error
    except Refused as refused:
        assert cause_of(refused) == "out_of_memory"


def test_errors_that_were_raised_from_each_other_have_a_cause():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert cause_of(first) == "exception"


def test_the_lines_that_matter_are_places_in_own_code_and_the_last_words():
    trace = """Traceback (most recent call last):
  File "/opt/lib/python3.11/site-packages/ray/train.py", line 10, in fit
    self._fit()
  File "/home/me/project/learn.py", line 7, in train
    loss = step(batch)
  File "/opt/lib/python3.11/site-packages/torch/nn.py", line 3, in forward
    return input @ weight
RuntimeError: mat1 and mat2 shapes cannot be multiplied
"""
    assert lines_of(trace) == [
        'File "/home/me/project/learn.py", line 7, in train',
        "Traceback (most recent call last):",
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied",
    ]


def test_of_a_long_log_the_end_matters():
    lines = lines_of("\n".join(f"line {n}" for n in range(1_000)))
    assert lines[-1] == "line 999"
    assert len(lines) == MOST_LINES


def test_a_recursion_without_end_has_few_lines():
    def deeper(n):
        return deeper(n + 1)

    try:
        deeper(0)
    except RecursionError:
        lines = lines_of(traceback.format_exc())
    assert len(lines) <= MOST_LINES
    assert "RecursionError" in lines[-1]
    assert any("deeper" in line for line in lines)
