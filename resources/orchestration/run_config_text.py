"""Run configuration as people write it in Dagster's launchpad and in files.

Dagster reads and writes it by PyYAML's YAML 1.1, where `2e-5` is text and `no` is false. The same
table as that of declarations takes its place in every process that opens Dagster's instance.
"""

from typing import Any

from dagster_shared.yaml_utils import DagsterYamlDumper, DagsterYamlLoader

from projects.yaml_values import RESOLVERS, Loader

LINE_BREAKS = frozenset("\x85\u2028\u2029")


def use_core_schema() -> None:
    """Let Dagster read and write plain values as declarations are read."""
    DagsterYamlLoader.yaml_implicit_resolvers = RESOLVERS
    DagsterYamlLoader.yaml_constructors = Loader.yaml_constructors
    DagsterYamlDumper.yaml_implicit_resolvers = RESOLVERS
    DagsterYamlDumper.add_representer(str, _text)


def _text(dumper: Any, value: str) -> Any:
    # Outside double quotes PyYAML folds these line breaks, and a reader gets a space.
    style = '"' if LINE_BREAKS.intersection(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)
