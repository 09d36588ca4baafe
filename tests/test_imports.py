"""What starts fast stays light, and rooms keep their walls."""

import re
import subprocess
import sys

import pytest

from projects.loading import CHECKOUT

HEAVY = {
    "torch",
    "ray",
    "mlflow",
    "bentoml",
    "kubernetes",
    "pandas",
    "sklearn",
    "scipy",
    "onnxruntime",
    "matplotlib",
}
ROOMS = (
    "accounts",
    "api",
    "assets",
    "deploy",
    "engine",
    "jobs",
    "projects",
    "resources",
    "scheduler",
    "sensors",
    "serving",
    "simulations",
    "training",
)
MODULES = [
    *CHECKOUT.glob("*.py"),
    *(file for room in ROOMS for file in sorted((CHECKOUT / room).rglob("*.py"))),
]
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
LONGEST = 330


@pytest.mark.parametrize(
    "statement", ["import definitions; definitions.defs()", "import api.cli.main"]
)
def test_orchestration_loads_nothing_heavy(statement, settings):
    code = f"{statement}; import sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"

    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=CHECKOUT, capture_output=True, text=True
    )

    assert ended.returncode == 0, ended.stderr
    loaded = set(ended.stdout.split())
    assert "projects" in loaded
    assert loaded & HEAVY == set()


def test_import_contracts_hold():
    command = [f"{sys.prefix}/bin/lint-imports", "--no-cache"]

    ended = subprocess.run(command, check=False, cwd=CHECKOUT, capture_output=True, text=True)

    assert ended.returncode == 0, ended.stdout
    assert "0 broken" in ended.stdout


def test_every_room_on_disk_is_under_contract():
    rooms = {
        file.parent.name
        for file in CHECKOUT.glob("*/__init__.py")
        if not file.parent.name.startswith(".")
    }

    assert rooms - {"benchmarks"} == set(ROOMS)


def test_no_module_has_a_vague_name():
    named = [str(file.relative_to(CHECKOUT)) for file in MODULES if file.stem in VAGUE]

    assert named == []


def test_no_module_is_too_long():
    lengths = {str(file.relative_to(CHECKOUT)): file.read_text().count("\n") for file in MODULES}

    assert len(lengths) > 50
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


READ_SETTINGS = {
    # Where a process begins.
    "api/app.py",
    "api/cli/brought_models.py",
    "api/cli/installation.py",
    "api/cli/main.py",
    "api/client.py",
    "api/collection/process.py",
    "api/server.py",
    "definitions.py",
    "resources/orchestration/daemon.py",
    # Dagster makes these itself, and gives them no settings.
    "resources/orchestration/instance.py",
    "resources/orchestration/local_launcher.py",
    # Read once in a process.
    "resources/revision.py",
}


def test_settings_are_read_where_a_process_begins():
    reading = re.compile(r"\b(Cluster|Gateway)?Settings\(\)")
    readers = {
        str(file.relative_to(CHECKOUT)) for file in MODULES if reading.search(file.read_text())
    }

    assert readers == READ_SETTINGS
