"""What the Helm chart renders."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.chart.chart import CHART
from deploy.chart.compositions import Objects, keyed
from tests.deploy.manifests import VERSION


def templated(
    folder: Path, *arguments: str, values: Any = None, namespace: str = "orrery"
) -> Objects:
    """Objects of a release with a values file of the chart or values of the test's own."""
    ended = tried(folder, *arguments, values=values, namespace=namespace)
    assert ended.returncode == 0, ended.stderr
    return keyed(thing for thing in yaml.safe_load_all(ended.stdout) if thing)


def tried(
    folder: Path, *arguments: str, values: Any = None, namespace: str = "orrery"
) -> subprocess.CompletedProcess[str]:
    """How `helm template` ended; the folder is for a file of values."""
    if values is not None:
        file = folder / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        arguments = (*arguments, f"--values={file}")
    return helm(
        "template",
        "orrery",
        str(CHART),
        f"--namespace={namespace}",
        f"--kube-version={VERSION}.0",
        *arguments,
    )


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """How helm ended; the test is skipped where there is none."""
    if shutil.which("helm") is None:
        pytest.skip("helm is not on PATH, so the chart cannot be rendered")
    return subprocess.run(["helm", *arguments], check=False, capture_output=True, text=True)
