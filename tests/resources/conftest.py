"""Sources of a project whose folder is that of the test."""

from collections.abc import Callable
from pathlib import Path

import pytest

from projects.schema import Dataset
from resources.datasets.sources import SourceRows, Sources
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(str(tmp_path / "objects"), tmp_path / "cache")


@pytest.fixture
def rows_of(tmp_path: Path, objects: ObjectStore) -> Callable[..., SourceRows]:
    """Reads a declared source."""
    sources = Sources(objects, RequestLogs(tmp_path / "requests", objects))

    def of(source: str, **declared: object) -> SourceRows:
        dataset = Dataset.model_validate({"source": source, **declared})
        return sources.read("birds", dataset, tmp_path)

    return of


@pytest.fixture
def text_file(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Writes a file of the project."""

    def write(name: str, content: str | bytes) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return write
