"""`python -m deploy.chart` writes the chart anew; `--check` says whether it is up to date."""

import sys

from deploy.chart.chart import CHART, files
from deploy.chart.tree import NotCharted
from deploy.kustomize import NotRendered


def main(arguments: list[str]) -> int:
    """Exit code: 1 where the chart is not written, or with `--check` not up to date."""
    try:
        texts = files()
    except (NotCharted, NotRendered) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    changed = [name for name, text in texts.items() if _current(name) != text]
    if "--check" in arguments:
        sys.stderr.write("".join(f"{name} is not up to date; run make chart\n" for name in changed))
        return 1 if changed else 0
    for name in changed:
        (CHART / name).parent.mkdir(parents=True, exist_ok=True)
        (CHART / name).write_text(texts[name])
        sys.stdout.write(f"wrote {name}\n")
    return 0


def _current(name: str) -> str | None:
    return (CHART / name).read_text() if (CHART / name).is_file() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
