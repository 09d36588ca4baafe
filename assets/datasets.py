"""Datasets: each materialisation reads the source and is an immutable version."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster import AssetExecutionContext, MetadataValue

from assets.champions import champion_of
from assets.dataset_versions import usable_version
from assets.derivations import RECIPE, code_of, origins_of, predictor_of, recipe_of, unchanged
from assets.failures import translated_errors
from assets.keys import asset_key, asset_spec, op_name
from assets.metadata import Report, picture
from projects.loading import LoadedProject
from projects.schema import Dataset
from resources.datasets.claims import TEXTS, claim_names, claims
from resources.datasets.plots import draw_profile
from resources.datasets.profiling import ColumnProfile
from resources.datasets.remarks import Remark
from resources.datasets.sources import Predictor, Sources
from resources.datasets.store import DatasetStore, DatasetVersion
from resources.kubernetes_api.settings import ClusterSettings
from resources.orchestration.pod_tags import pod_tags
from resources.revision import revision
from resources.storage.object_store import ObjectStore
from resources.tracking.adapter import Tracking

MOST_SHOWN = 100
"""Columns, and classes, that the page of a materialisation shows; the version's file has all."""


def build_dataset(
    project: LoadedProject, name: str, cluster: ClusterSettings
) -> dg.AssetsDefinition:
    """The asset of one declared dataset, with its expectations as blocking checks."""
    declared = project.declaration.datasets[name]
    key = asset_key(project.name, "dataset", name)
    spec = asset_spec(
        project,
        "dataset",
        name,
        deps=_deps(project, declared),
        kinds={"parquet", _kind(declared)},
        description=f"{declared.description}\n\n{_about(declared)} Each materialisation "
        "is an immutable version named by the hash of its content: the same bytes give the same "
        "version, and nothing is written twice. Failed checks stop everything that would learn "
        "from it.",
        metadata={"source": declared.source},
        code_version=code_of(project, declared),
    )

    def rows(
        context: AssetExecutionContext,
        sources: dg.ResourceParam[Sources],
        datasets: dg.ResourceParam[DatasetStore],
    ) -> Iterator[dg.MaterializeResult]:
        yield _made(context, project, name, sources, datasets)

    def predicted_rows(
        context: AssetExecutionContext,
        sources: dg.ResourceParam[Sources],
        datasets: dg.ResourceParam[DatasetStore],
        objects: dg.ResourceParam[ObjectStore],
        tracking: dg.ResourceParam[Tracking],
    ) -> Iterator[dg.MaterializeResult]:
        with translated_errors():
            champion = champion_of(context, project, declared.predict or "", tracking)
            predictor = predictor_of(champion, objects)
        yield _made(context, project, name, sources, datasets, predictor)

    asset = dg.multi_asset(
        name=op_name(project.name, "dataset", name),
        specs=[spec],
        op_tags=pod_tags(declared.memory, cluster),
        check_specs=[
            dg.AssetCheckSpec(claim, asset=key, blocking=True, description=TEXTS[claim])
            for claim in claim_names(declared.expect)
        ],
    )
    return asset(predicted_rows if declared.predict else rows)


def _made(
    context: AssetExecutionContext,
    project: LoadedProject,
    name: str,
    sources: Sources,
    datasets: DatasetStore,
    predictor: Predictor | None = None,
) -> dg.MaterializeResult:
    """The version of what the declaration reads now."""
    declared, key = project.declaration.datasets[name], asset_key(project.name, "dataset", name)
    report = Report()
    with translated_errors():
        given = {
            origin: usable_version(context, project, origin, datasets) for origin in declared.from_
        }
        recipe = recipe_of(project, declared, given, predictor)
        version = unchanged(context, project, name, recipe, datasets)
        if version is None:
            origins = origins_of(project, given, predictor)
            with sources.rows(project.name, declared, project.base, origins) as rows:
                version = datasets.write(project.name, name, declared, rows, revision())
    context.log.info(f"version {version.version[:12]}: {version.rows} rows in {version.uri}")
    for remark in version.remarks:
        context.log.warning(str(remark))
    return dg.MaterializeResult(
        asset_key=key,
        data_version=dg.DataVersion(version.version),
        metadata=report.metadata(
            uri=version.uri,
            size=version.bytes,
            **({RECIPE: recipe} if recipe else {}),
            **_described(version),
        ),
        check_results=_checked(version, declared, key),
    )


def _deps(project: LoadedProject, declared: Dataset) -> list[dg.AssetKey]:
    scheme, _, service = declared.source.partition(":")
    if scheme == "requests":
        return [asset_key(project.name, "service", service)]
    origins = [asset_key(project.name, "dataset", origin) for origin in declared.from_]
    champion = [asset_key(project.name, "champion", declared.predict)] if declared.predict else []
    return [*origins, *champion]


def _kind(declared: Dataset) -> str:
    """What the page of the asset shows as its kind."""
    if declared.from_:
        return "sql" if declared.sql else "onnx" if declared.predict else "python"
    return declared.source.partition(":")[0]


def _about(declared: Dataset) -> str:
    if not declared.from_:
        return f"Rows of `{declared.source}`."
    if declared.predict:
        way = f"predictions of the champion of `{declared.predict}`."
    elif declared.transform:
        way = f"`{declared.transform}`."
    else:
        way = f"\n\n```sql\n{declared.sql}\n```"
    return (
        f"Made from {' and '.join(declared.from_)} by {way}\n\nIt is not made again while nothing "
        "of this has changed."
    )


def _described(version: DatasetVersion) -> dict[str, Any]:
    profile = version.profile
    shown = [*profile.columns, *(group.whole() for group in profile.groups)]
    counts = list(profile.class_counts.items())
    return {
        "version": version.version,
        "source": version.source,
        "rows": version.rows,
        "dagster/row_count": version.rows,
        "columns": len(profile.every()),
        "features": len(version.features),
        "task": version.task or "",
        "task_reason": version.task_reason,
        "splits": MetadataValue.json({name: s.rows for name, s in version.splits.items()}),
        "remarks": _table([_remark(remark) for remark in version.remarks]),
        "profile": _table([_profile(column) for column in shown[:MOST_SHOWN]]),
        "columns_not_shown": max(0, len(shown) - MOST_SHOWN),
        "classes": len(version.classes),
        "class_counts": MetadataValue.json(dict(counts[:MOST_SHOWN])),
        "picture": picture(draw_profile(profile)),
    }


def _table(records: list[dg.TableRecord]) -> MetadataValue:
    # Dagster takes the columns from the first record, and refuses a table without records.
    return MetadataValue.table(records) if records else MetadataValue.null()


def _profile(column: ColumnProfile) -> dg.TableRecord:
    shown = column.model_dump(include={"type", "nulls", "infinite", "low", "high", "mean"})
    return dg.TableRecord({"column": column.name, **shown})


def _remark(remark: Remark) -> dg.TableRecord:
    # A cell without a value is empty text: Dagster takes the columns from the first record.
    return dg.TableRecord(
        {key: v if v is not None else "" for key, v in remark.model_dump().items()}
    )


def _checked(
    version: DatasetVersion, declared: Dataset, key: dg.AssetKey
) -> list[dg.AssetCheckResult]:
    return [
        dg.AssetCheckResult(
            asset_key=key, check_name=claim.name, passed=claim.holds, description=claim.message
        )
        for claim in claims(version, declared.expect)
    ]
