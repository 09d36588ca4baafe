"""The client is a wheel of its own that needs httpx alone."""

import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from resources.settings import CHECKOUT

NEEDED = ("httpx", "httpcore", "anyio", "h11", "idna", "certifi", "sniffio", "typing_extensions")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The client's wheel, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [f"{sys.prefix}/bin/uv", "build", "--wheel", "--offline", "--quiet"]
    client = str(CHECKOUT / "client")
    subprocess.run([*command, "--out-dir", str(folder), client], check=True, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bare(tmp_path_factory, wheel) -> Path:
    """Python of an environment with the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for name in NEEDED:
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for file in distribution.files or ():
            top = file.parts[0]
            if top in ("..", "__pycache__") or (site / top).exists():
                continue
            (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder / "bin" / "python"


def ran(python: Path, code: str) -> str:
    done = subprocess.run(
        [str(python), "-I", "-c", code], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_has_the_client_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "orrery",
        "orrery_client",
    }
    assert "orrery/py.typed" in names
    assert any(name.startswith("orrery/operations/") for name in names)


def test_the_wheel_is_imported_where_there_is_nothing_of_the_platform(bare):
    code = (
        "import orrery, sys; client = orrery.connect('http://127.0.0.1:9', 'k');"
        "client.operations.jobs.list(); print(*{m.partition('.')[0] for m in sys.modules})"
    )
    loaded = set(ran(bare, code).split())
    assert not loaded & {"api", "resources", "pydantic", "pandas", "numpy", "matplotlib", "tqdm"}


def test_without_pandas_a_frame_is_refused_with_how_to_install_it(bare):
    code = (
        "import orrery\nfrom orrery.extras import pandas\n"
        "try: pandas()\nexcept orrery.MissingExtra as error: print(error)"
    )
    assert 'pip install "orrery-client[notebook]"' in ran(bare, code)


def test_the_platform_has_no_package_of_the_clients_name():
    files = metadata.distribution("orrery").files or ()
    assert not any(file.parts[0] == "orrery" for file in files)
    assert not (CHECKOUT / "orrery").exists()
