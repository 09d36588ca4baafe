"""Datasets: each materialisation reads the source and is an immutable version."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster import AssetExecutionContext, MetadataValue

from assets.failures import told
from assets.keys import asset_key, asset_spec, op_name
from assets.metadata import Report, picture
from projects.loading import LoadedProject
from projects.schema import Dataset
from resources.datasets import DatasetStore, DatasetVersion
from resources.plots import draw_profile
from resources.pod_tags import pod_tags
from resources.profiling import CLAIMS, claims
from resources.sources import Sources

CLAIM_TEXTS = {
    "has_enough_rows": "The version has as many rows as declared (at least two).",
    "features_are_finite": "No feature is null, NaN or infinite beyond the declared share.",
    "columns_are_as_expected": "Every declared range and share of nulls holds.",
    "classes_are_balanced": "Every row has a label, there are two classes or more, and each has "
    "its declared share.",
}


def build_dataset(project: LoadedProject, name: str) -> dg.AssetsDefinition:
    """The asset of one declared dataset, with its expectations as blocking checks."""
    declared = project.declaration.datasets[name]
    key = asset_key(project.name, "dataset", name)
    spec = asset_spec(
        project,
        "dataset",
        name,
        deps=_deps(project, declared),
        kinds={"deltalake", declared.source.partition(":")[0]},
        description=f"{declared.description}\n\nRows of `{declared.source}`. Each materialisation "
        "is an immutable version named by the hash of its content: the same bytes give the same "
        "version, and nothing is written twice. Failed checks stop everything that would learn "
        "from it.",
        metadata={"source": declared.source},
    )

    @dg.multi_asset(
        name=op_name(project.name, "dataset", name),
        specs=[spec],
        op_tags=pod_tags(declared.memory),
        check_specs=[
            dg.AssetCheckSpec(claim, asset=key, blocking=True, description=CLAIM_TEXTS[claim])
            for claim in CLAIMS
        ],
    )
    def dataset(
        context: AssetExecutionContext,
        sources: dg.ResourceParam[Sources],
        datasets: dg.ResourceParam[DatasetStore],
    ) -> Iterator[dg.MaterializeResult]:
        report = Report()
        with told():
            table = sources.read(project.name, declared, project.base)
            version = datasets.write(project.name, name, declared, table)
        context.log.info(f"version {version.version[:12]}: {version.rows} rows in {version.uri}")
        yield dg.MaterializeResult(
            asset_key=key,
            data_version=dg.DataVersion(version.version),
            metadata=report.metadata(uri=version.uri, size=version.bytes, **_described(version)),
            check_results=_checked(version, declared, key),
        )

    return dataset


def _deps(project: LoadedProject, declared: Dataset) -> list[dg.AssetKey]:
    scheme, _, service = declared.source.partition(":")
    return [asset_key(project.name, "service", service)] if scheme == "requests" else []


def _described(version: DatasetVersion) -> dict[str, Any]:
    columns = [
        dg.TableRecord(
            {
                "column": c.name,
                "type": c.type,
                "nulls": c.nulls,
                "low": c.low,
                "high": c.high,
                "mean": c.mean,
            }
        )
        for c in version.profile.columns
    ]
    return {
        "version": version.version,
        "rows": version.rows,
        "dagster/row_count": version.rows,
        "columns": len(columns),
        "profile": MetadataValue.table(columns) if columns else MetadataValue.null(),
        "class_counts": MetadataValue.json(version.profile.class_counts),
        "picture": picture(draw_profile(version.profile)),
    }


def _checked(
    version: DatasetVersion, declared: Dataset, key: dg.AssetKey
) -> list[dg.AssetCheckResult]:
    return [
        dg.AssetCheckResult(
            asset_key=key, check_name=claim.name, passed=claim.holds, description=claim.message
        )
        for claim in claims(version.profile, declared.expect, version.features, declared.label)
    ]
