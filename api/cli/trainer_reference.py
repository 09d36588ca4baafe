"""The shipped trainers as a page for people, written from their source."""

import ast
from collections.abc import Iterator
from pathlib import Path

from api.cli.field_table import one_line, table
from projects.loading import CHECKOUT
from projects.trainers import read_trainer

HEAD = """# Trainers

A model names its trainer as `module:function`. This page is written by `orrery trainers`, from the
classes in which the shipped ones declare their hyperparameters; one of your own declares them in
the same way ([projects.md](projects.md#the-training-function)).

"""
FUNCTION = "train"


def markdown() -> str:
    """The page."""
    return HEAD + "\n".join(line for each in shipped() for line in _trainer(*each)).lstrip() + "\n"


def shipped() -> Iterator[tuple[str, str]]:
    """Name of every shipped trainer, and the text of its function."""
    for file in sorted((CHECKOUT / "training").rglob("*.py")):
        for line in ast.parse(file.read_bytes()).body:
            if isinstance(line, ast.FunctionDef) and _is_trainer(line):
                module = ".".join(file.relative_to(CHECKOUT).with_suffix("").parts)
                yield f"{module}:{FUNCTION}", ast.get_docstring(line) or ""


def _is_trainer(function: ast.FunctionDef) -> bool:
    return function.name == FUNCTION and [a.arg for a in function.args.args] == ["config"]


def _trainer(name: str, text: str) -> list[str]:
    declared = read_trainer(name, Path(CHECKOUT, "projects", "any.yaml")).hyperparameters
    rows = table(declared.model_fields) if declared else []
    return ["", f"## `{name}`", "", one_line(text.partition("Hyperparameters:")[0]), "", *rows]
