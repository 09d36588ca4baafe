"""Tutorials do what they say: their files are written, their commands run, and what they show is
in the output.

A block with a file's name is that file, `sh` is run, and `text` behind it has lines of its output,
with `...` for what may be otherwise. Other blocks are for the reader alone.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from projects.loading import CHECKOUT
from tests.waiting import PATIENCE_S

TUTORIALS = sorted((CHECKOUT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of Markdown."""

    kind: str
    file: str
    text: str
    line: int


def blocks_of(markdown: str) -> Iterator[Block]:
    for found in BLOCK.finditer(markdown):
        kind, file, text = found.groups(default="")
        yield Block(kind, file, text, markdown[: found.start()].count("\n") + 1)


def shows(said: str, shown: str) -> str:
    """The first line that the output lacks, in the order shown; empty where it has all."""
    rest = iter(" ".join(line.split()) for line in said.splitlines())
    for line in shown.splitlines():
        pattern = ".*".join(re.escape(part) for part in " ".join(line.split()).split("..."))
        if not any(re.fullmatch(pattern, each) for each in rest):
            return line
    return ""


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda file: file.stem)
def test_a_tutorial_does_what_it_says(tutorial: Path, up, tmp_path):
    env = {
        **up.env,
        "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "client")]),
        "MPLBACKEND": "agg",
        "COLUMNS": "200",
    }
    said = ""
    for block in blocks_of(tutorial.read_text()):
        place = f"{tutorial.name}, line {block.line}"
        if block.file:
            (tmp_path / block.file).write_text(block.text)
        elif block.kind == "sh":
            ended = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text],
                check=False,
                cwd=tmp_path,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE_S,
            )
            said = ended.stdout
            assert ended.returncode == 0, f"{place}:\n{said}"
        elif block.kind == "text":
            lacking = shows(said, block.text)
            assert not lacking, f"{place}: {lacking!r} is not in\n{said}"
