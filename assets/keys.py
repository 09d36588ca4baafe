"""Names of assets: `project/family/name`, grouped by project."""

import re
from typing import Any, Literal

import dagster as dg

from projects.loading import LoadedProject

Family = Literal["dataset", "checkpoint", "model", "simulation", "champion", "service"]


def asset_key(project: str, family: Family, name: str) -> dg.AssetKey:
    """Key of an asset: `project/family/name`.

    A model's three assets end with their family, because the UI shows the end of a key alone.
    """
    is_of_model = family in ("checkpoint", "model", "champion")
    return dg.AssetKey([project, family, f"{name}_{family}" if is_of_model else name])


def op_name(*parts: str) -> str:
    """Name legal for ops, checks, jobs and sensors, which know no hyphen or dot."""
    return re.sub(r"[^A-Za-z0-9_]", "_", "__".join(parts))


def asset_spec(
    project: LoadedProject,
    family: Family,
    name: str,
    *,
    deps: list[dg.AssetKey],
    kinds: set[str],
    description: str,
    metadata: dict[str, Any] | None = None,
    is_skippable: bool = False,
    code_version: str | None = None,
) -> dg.AssetSpec:
    """Spec that every asset of a project shares: group, owner, tags, and where it is declared."""
    return dg.AssetSpec(
        key=asset_key(project.name, family, name),
        deps=deps,
        group_name=op_name(project.name),
        kinds=kinds,
        skippable=is_skippable,
        code_version=code_version,
        owners=[project.declaration.owner],
        tags={"project": project.name, "family": family},
        description=description,
        metadata={"declared in": dg.MetadataValue.path(str(project.file)), **(metadata or {})},
    )
