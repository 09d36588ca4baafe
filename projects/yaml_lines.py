"""YAML read together with the line of every key, so that errors can point at it."""

from pathlib import Path
from typing import Any

import yaml

from projects.yaml_values import Loader

Location = tuple[str | int, ...]
LARGEST_BYTES = 1_000_000
LARGEST_INTEGER_BITS = 64


class UnreadableYaml(Exception):
    """A file that is missing, too large, not text, or not YAML of one mapping."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


_UNCAUGHT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What PyYAML lets pass of its own constructors and scanner: `int('')`, `match.group` of None."""


class _Loader(Loader):
    """Safe YAML without aliases, which allow exponential expansion."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1
            raise UnreadableYaml("aliases (*name) are not accepted; write the value out", line)
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except _UNCAUGHT as error:
            line, word = node.start_mark.line + 1, repr(node.value)
            raise UnreadableYaml(f"{word:.80} is no {node.tag[18:]}: {error}", line) from error
        if isinstance(value, int) and value.bit_length() > LARGEST_INTEGER_BITS:
            line = node.start_mark.line + 1
            raise UnreadableYaml(f"a number of more than {LARGEST_INTEGER_BITS} bits", line)
        return value


def read_yaml(file: Path) -> tuple[Any, dict[Location, int]]:
    """The file's value, and the 1-based line of every location in it.

    Raises UnreadableYaml when the file cannot be read as one YAML document without aliases,
    repeated keys or more than a megabyte.
    """
    try:
        if file.stat().st_size > LARGEST_BYTES:
            raise UnreadableYaml(f"larger than {LARGEST_BYTES} bytes; expected a declaration")
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UnreadableYaml("no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableYaml(f"cannot be read as UTF-8 text: {error}") from error
    try:
        return _parsed(_Loader(text))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UnreadableYaml(
            f"not YAML: character #x{error.character:02x} is not text", line
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise UnreadableYaml(f"not YAML: {problem}", mark.line + 1 if mark else 1) from error
    except RecursionError:
        raise UnreadableYaml("nested too deeply; expected a declaration") from None


def _parsed(loader: _Loader) -> tuple[Any, dict[Location, int]]:
    try:
        node = loader.get_single_node()
        if node is None:
            raise UnreadableYaml("the file is empty; expected a mapping")
        locations: dict[Location, int] = {}
        _locate(node, (), locations)
        return loader.construct_document(node), locations
    except _UNCAUGHT as error:
        raise UnreadableYaml(f"not YAML: {error}", loader.line + 1) from error
    finally:
        loader.dispose()


def _locate(node: yaml.Node, location: Location, locations: dict[Location, int]) -> None:
    locations.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UnreadableYaml("a key is a list or a mapping; expected a word", line)
            here = (*location, key.value)
            if here in locations:
                raise UnreadableYaml(f"key {key.value!r} is given twice", line)
            locations[here] = line
            _locate(value, here, locations)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _locate(value, (*location, index), locations)
