"""The base with components, as an overlay would have them."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from deploy.chart.tree import NotCharted
from deploy.kustomize import rendered
from resources.settings import CHECKOUT

KUBERNETES = CHECKOUT / "deploy" / "kubernetes"
LAST = "pull-secrets"
"""The component that changes what the others add."""
Objects = dict[tuple[str, str, str], dict[str, Any]]
"""Objects by kind, namespace and name."""


def components() -> list[str]:
    """Names of the components, in the order in which an overlay lists them."""
    names = sorted(folder.name for folder in (KUBERNETES / "components").iterdir())
    return sorted(names, key=lambda name: name == LAST)


def overlays() -> list[str]:
    """Names of the overlays."""
    return sorted(folder.name for folder in (KUBERNETES / "overlays").iterdir())


def components_of(overlay: str) -> list[str]:
    """Components that the overlay lists."""
    listing = yaml.safe_load((KUBERNETES / "overlays" / overlay / "kustomization.yaml").read_text())
    return [Path(path).name for path in listing.get("components", ())]


def of_overlay(name: str) -> Objects:
    """Objects of an overlay. Raises NotRendered."""
    return keyed(rendered(KUBERNETES / "overlays" / name))


def composed(names: Iterable[str]) -> Objects:
    """Objects of the base with these components. Raises NotRendered."""
    paths = {
        "resources": [KUBERNETES / "base"],
        "components": [KUBERNETES / "components" / name for name in names],
    }
    with tempfile.TemporaryDirectory(prefix="orrery-chart-") as name:
        folder = Path(name).resolve()
        listing = {k: [os.path.relpath(p, folder) for p in v] for k, v in paths.items()}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(listing))
        return keyed(rendered(folder))


def keyed(things: Iterable[dict[str, Any]]) -> Objects:
    """Objects by what tells them apart. Raises NotCharted where two are called the same."""
    result: Objects = {}
    for thing in things:
        named = thing["metadata"]
        key = (thing["kind"], named.get("namespace", ""), named["name"])
        if key in result:
            raise NotCharted(f"there are two objects {key}; expected one")
        result[key] = thing
    return result
