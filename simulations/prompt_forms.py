"""Forms of attacks on prompts, in named sets: YAML files here, or beside a declaration."""

import base64
import codecs
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import StringConstraints, TypeAdapter, ValidationError

from projects.declared import Declared, Name
from projects.nearest import hint
from projects.suite import UnusableSuite

SHIPPED = Path(__file__).parent / "prompt_sets"
ENDING = ".yaml"
SetName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][\w-]*$|^(?:[A-Za-z_][\w-]*/)*[A-Za-z_][\w-]*\.yaml$")
]
"""Name of a shipped set, or path of a YAML file beside the declaration."""


class Form(Declared):
    """One form of an attack."""

    name: str
    """What results call it."""
    group: Name
    """Scenario that it belongs to, besides that of all."""
    text: str
    """The prompt: `{given}` is what the model was told, `{request}` what the attacker wants;
    `{base64}`, `{rot13}`, `{reversed}` and `{spaced}` are the request in a code."""

    def of(self, given: str, request: str) -> str:
        """The attack on what was given."""
        fills = {
            "base64": base64.b64encode(request.encode()).decode(),
            "rot13": codecs.encode(request, "rot13"),
            "reversed": request[::-1],
            "spaced": " ".join(request),
            "request": request,
            "given": given,
        }
        text = self.text
        for name, fill in fills.items():
            text = text.replace("{" + name + "}", fill)
        return text.strip()


_FORMS = TypeAdapter(list[Form])


def forms_of(name: str, declaration: Path | None = None) -> list[Form]:
    """The forms of the set: a shipped one, or one beside the declaration. Raises UnusableSuite."""
    if not name.endswith(ENDING):
        known = sorted(file.stem for file in SHIPPED.glob(f"*{ENDING}"))
        if name not in known:
            text = f"attacks: got the set {name!r}, expected {', '.join(known)}{hint(name, known)}"
            raise UnusableSuite(f"{text}, or a YAML file beside the declaration")
        return _read(SHIPPED / f"{name}{ENDING}")
    if declaration is None:
        raise UnusableSuite(f"attacks: {name} is a file, and no declaration lies beside it")
    return _read(declaration.parent / name)


def _read(file: Path) -> list[Form]:
    try:
        forms = _FORMS.validate_python(yaml.safe_load(file.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        text = f"attacks: {file.name} is no set of attacks: {error}"
        raise UnusableSuite(f"{text}; expected a list of name, group and text") from error
    if not any("{request}" in form.text for form in forms):
        raise UnusableSuite(f"attacks: no text of {file.name} has {{request}}")
    return forms
