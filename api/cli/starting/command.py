"""Makes a project file from a source, with at most three questions."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from api.cli.starting import environments, images, models, tables, texts
from api.cli.starting.draft import Ask, CannotStart, Draft, Request, name_of
from projects.loading import InvalidProject, LoadedProject, load_project

KINDS = (models, texts, tables, images, environments)
"""Models come first: some are JSON, as tables may be; and texts are tables of their own kind."""
LEGAL = re.compile(r"^[a-z][a-z0-9_-]{0,47}$")


def start(
    source: str,
    name: str | None,
    label: str | None,
    data: str | None,
    environment: str | None,
    ask: Ask,
    say: Callable[[str], None],
) -> tuple[LoadedProject, Draft]:
    """The project that is now in `NAME.yaml` beside the table or the model, or of the working
    directory.

    Raises CannotStart, and leaves no file, where the source is none that can be made a project, or
    the file is there already.
    """
    kind = next((each for each in KINDS if each.recognises(source)), None)
    if kind is None:
        raise CannotStart(
            f"got {source!r}, expected a table ({', '.join(tables.SUFFIXES)}), a model "
            f"({models.KNOWN}), a folder with a folder of images for each class, or "
            "the id of a Gymnasium environment"
        )
    if environment is not None and kind is not models:
        raise CannotStart(
            f"got {source!r} with --environment, which proves a policy; expected a policy's file "
            f"({environments.POLICY}), or the environment's id alone to train one"
        )
    chosen = name or ask("Name of the project?", name_of(source))
    if not LEGAL.match(chosen):
        raise CannotStart(f"got the name {chosen!r}, expected lower case letters, digits, - and _")
    folder = Path(source).absolute().parent if kind in (tables, texts, models) else Path.cwd()
    file = folder / f"{chosen}.yaml"
    if file.exists():
        raise CannotStart(f"{file} exists; choose another name by --name, or remove it")
    draft = kind.draft(Request(source, chosen, folder, label, data, environment, ask, say))
    file.write_text(draft.text, encoding="utf-8")
    try:
        return load_project(file), draft
    except InvalidProject as error:
        file.unlink()
        raise CannotStart(f"the project does not fit the source: {error}") from error


def default_of(question: str, default: str, choices: Sequence[str] = ()) -> str:
    """The default, without a question."""
    return default
