"""What tests share: a state folder of their own, the doors over it, and small real projects."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.settings import Settings

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings whose state lies in a folder of the test; processes it starts see the same."""
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("ORRERY_STATE", str(state))
    for name in ("ORRERY_OBJECTS", "ORRERY_MLFLOW_URI", "ORRERY_PROJECTS"):
        monkeypatch.delenv(name, raising=False)
    yield Settings()
