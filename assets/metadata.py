"""What every materialisation says of itself, under the same keys."""

import base64
import time
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import MetadataValue

from resources.revision import revision


class Report:
    """Collects the metadata of one materialisation, timed from when it is made."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def metadata(
        self, *, uri: str, size: int, mlflow_url: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """uri, bytes, duration_s, cost_process_s, git_revision, mlflow, and what is special.

        The cost of the embedded default is the seconds its process was busy with the step.
        """
        duration_s = round(time.monotonic() - self._started, 3)
        workers = more.pop("workers", 1)
        values: dict[str, Any] = {
            "uri": MetadataValue.path(uri),
            "bytes": size,
            "duration_s": duration_s,
            "cost_process_s": round(duration_s * workers, 3),
            "git_revision": revision(),
        }
        if mlflow_url:
            values["mlflow"] = MetadataValue.url(mlflow_url)
        return {**values, **more}


def picture(png: bytes) -> MetadataValue:
    """The PNG, shown in the page of the materialisation."""
    # Dagster has no metadata type for images, but its Markdown shows images of data URIs.
    return MetadataValue.md(f"![](data:image/png;base64,{base64.b64encode(png).decode()})")


def pictures(paths: list[Path]) -> dict[str, MetadataValue]:
    """The PNGs by their names; texts beside them are none."""
    return {p.stem: picture(p.read_bytes()) for p in paths if p.suffix == ".png"}


def text_of(event: dg.AssetMaterialization, key: str) -> str:
    """Text of a metadata entry. Raises KeyError."""
    return str(event.metadata[key].value)
