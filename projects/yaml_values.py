"""Plain YAML values by the core schema of YAML 1.2: `2e-5` is a number, `no` and `2026-01-31` are
text.

PyYAML reads YAML 1.1, where it is the other way round. Loader and dumper share one table, so that
every JSON value that is written is read back as it was.
"""

import re
from typing import Any

import yaml

_PREFIX = "tag:yaml.org,2002:"
_PLAIN = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    # A leading zero is the mark of a code, such as a postal code, and no octal number.
    "int": (r"[-+]?(?:0|[1-9][0-9_]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
# Without a point or an exponent it is an integer, or a code with leading zeros that stays text.
_IS_FLOAT = r"(?=.*[.eE])"
_KEPT = (f"{_PREFIX}merge", f"{_PREFIX}value")


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {
        letter: kept
        for letter, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
        if (kept := [(tag, rule) for tag, rule in rules if tag in _KEPT])
    }
    for name, (pattern, letters) in _PLAIN.items():
        ahead = _IS_FLOAT if name == "float" else ""
        rule = re.compile(f"^{ahead}(?:{pattern})$")
        for letter in letters:
            # PyYAML looks up the rules of an empty scalar under the empty string.
            resolvers.setdefault("" if letter == "\0" else letter, []).append(
                (_PREFIX + name, rule)
            )
    return resolvers


RESOLVERS = _resolvers()
"""What PyYAML calls `yaml_implicit_resolvers`: by first letter, tags and their patterns."""


def _integer(loader: yaml.SafeLoader, node: Any) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    bases = {"0o": 8, "0x": 16}
    return int(text, bases.get(text[:2], 10))


def _text(loader: yaml.SafeLoader, node: Any) -> str:
    """JSON writes letters beyond 16 bits as two escapes, which PyYAML does not join."""
    text = loader.construct_scalar(node)
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return text


class Loader(yaml.SafeLoader):
    """Safe YAML with the plain values of YAML 1.2."""

    yaml_implicit_resolvers = RESOLVERS

    def stale_possible_simple_keys(self) -> None:
        """Forget keys whose line has ended. YAML also forgets one after 1,024 characters, where
        JSON, which is read here as YAML, has no limit."""
        if self.flow_level:
            for key in self.possible_simple_keys.values():
                key.index = self.index
        super().stale_possible_simple_keys()


Loader.add_constructor(f"{_PREFIX}int", _integer)
Loader.add_constructor(f"{_PREFIX}str", _text)


class Dumper(yaml.SafeDumper):
    """Writes JSON values so that `Loader` reads the same."""

    yaml_implicit_resolvers = RESOLVERS

    def ignore_aliases(self, data: Any) -> bool:
        """True: equal parts are written out, because declarations are read without aliases."""
        return True


def parsed(text: str) -> Any:
    """The value of a YAML text. Raises yaml.YAMLError, or ValueError for a value of a tag."""
    return yaml.load(text, Loader)  # noqa: S506 - it is a SafeLoader


def dumped(value: Any) -> str:
    """The JSON value as YAML, keys in their order. Raises yaml.YAMLError."""
    return yaml.dump(value, Dumper=Dumper, sort_keys=False)
