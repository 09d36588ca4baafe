"""Objects of a kustomization, as `kubectl apply -k` would give them to a cluster."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml


class NotRendered(Exception):
    """The objects cannot be printed; says why, and what to do."""


def rendered(folder: Path) -> list[dict[str, Any]]:
    """Objects of the kustomization in the folder. Raises NotRendered."""
    if shutil.which("kubectl") is None:
        raise NotRendered(
            "there is no kubectl on PATH, which renders deploy/kubernetes; install kubectl"
        )
    ended = subprocess.run(
        ["kubectl", "kustomize", str(folder)], check=False, capture_output=True, text=True
    )
    if ended.returncode:
        raise NotRendered(f"kubectl does not render {folder}: {ended.stderr.strip()}")
    return list(yaml.safe_load_all(ended.stdout))
