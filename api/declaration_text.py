"""Declarations that requests bring: validated, and written as YAML."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from api.problems import invalid
from projects.loading import InvalidProject
from projects.loading import Problem as Mistaken
from projects.mistakes import mistakes_in
from projects.schema import Project
from projects.yaml_lines import LARGEST_BYTES
from projects.yaml_values import dumped


def validated(document: dict[str, Any]) -> Project:
    """The declaration. Raises InvalidProject with every mistake, before any file is opened."""
    try:
        return Project.model_validate(document)
    except ValidationError as error:
        problems = [
            Mistaken(Path(), 0, ".".join(map(str, mistake.location)), mistake.message)
            for mistake in mistakes_in(error, Project, document)
        ]
        raise InvalidProject(problems) from error


def as_yaml(document: dict[str, Any]) -> str:
    """The document as YAML. Raises the problem `invalid` where it cannot be kept."""
    try:
        text = dumped(document)
    except (yaml.YAMLError, RecursionError) as error:
        raise invalid(f"the declaration cannot be kept as YAML: {error}", "declaration") from error
    if len(text) > LARGEST_BYTES:
        raise invalid(f"larger than {LARGEST_BYTES} bytes", "declaration")
    return text
