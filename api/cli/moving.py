"""`orrery migrate` as a person sees it: the progress, and both sides compared."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.migration.move import Move, at_rest
from resources.settings import Settings


def move(
    folder: Path, settings: Settings, console: Console, errors: Console, *, only_compare: bool
) -> int:
    """Exit code of a whole `orrery migrate`: 1 where the sides differ at the end."""
    with at_rest(folder, settings.state), console.status("looking at both sides ...") as status:
        moving = Move(folder, settings, lambda what, done: status.update(f"{what} {done} ..."))
        if not only_compare:
            moving.run()
        compared = list(moving.compare())
    table = Table("", "moved", "bytes", "SHA-256", "")
    for each in compared:
        if each.old_count or not each.is_same:
            table.add_row(*each.cells)
    console.print(table)
    wrong = [each for each in compared if not each.is_same]
    for each in wrong:
        errors.print(str(each), highlight=False, soft_wrap=True)
    if wrong:
        return 1
    console.print(f"all of {folder} is where the settings point, and the same.", soft_wrap=True)
    return 0
