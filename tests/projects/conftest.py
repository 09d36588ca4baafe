"""A third project beside the shipped ones, in a folder of the test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from projects.loading import InvalidProject, Problem, load_project

DECLARATION = """\
project: birds
owner: team:ornithology
datasets:
  songs:
    source: files:songs.csv
    label: species
models:
  singer:
    trainer: birdsong:train
    dataset: songs
simulations:
  storms:
    model: singer
    suite: storms.yaml
    gate: {accuracy: {at_least: 0.5}}
services:
  singer-api:
    model: singer
"""
SUITE = """\
kind: corruptions
corruptions: {noise: [0.1]}
image:
  height: 2
  width: 2
  low: 0
  high: 1
"""
TRAINER = "def train(config): ...\n"


@pytest.fixture
def declaration() -> str:
    return DECLARATION


@pytest.fixture
def project_file(tmp_path: Path) -> Path:
    """File of the third project, whose suite and trainer lie beside it."""
    folder = tmp_path / "birds"
    folder.mkdir()
    (folder / "storms.yaml").write_text(SUITE)
    (folder / "birdsong.py").write_text(TRAINER)
    file = folder / "birds.yaml"
    file.write_text(DECLARATION)
    return file


@pytest.fixture
def problems_of(project_file: Path) -> Callable[[str | bytes], tuple[Problem, ...]]:
    """Loads a declaration that cannot be used; its problems."""

    def load(content: str | bytes) -> tuple[Problem, ...]:
        project_file.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(InvalidProject) as raised:
            load_project(project_file)
        return raised.value.problems

    return load
