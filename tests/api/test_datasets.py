"""What the gateway says of datasets: their task, and what their versions do not hold."""

import dagster as dg
import pytest

from assets.datasets import build_dataset
from definitions import adapters
from projects.loading import load_project
from resources.kubernetes_api.settings import ClusterSettings
from tests.api.gateway import running_gateway

PROJECT = """\
project: birds
owner: team:ornithology
datasets:
  songs: {source: "files:songs.csv", label: kind}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A gateway whose project has one materialised dataset."""
    folder = tmp_path_factory.mktemp("datasets")
    (folder / "projects").mkdir()
    file = folder / "projects" / "birds.yaml"
    file.write_text(PROJECT)
    rows = "".join(
        f"{'n/a?' if i == 7 else i},{i % 3},{'yes' if i % 2 else 'no'}\n" for i in range(40)
    )
    (folder / "projects" / "songs.csv").write_text(f"width,height,kind\n{rows}")
    with running_gateway(folder, folder / "projects") as opened:
        created = dg.materialize(
            [build_dataset(load_project(file), "songs", ClusterSettings())],
            instance=opened.platform.events.instance,
            resources=adapters(opened.platform.settings),
        )
        assert created.success
        yield opened


def test_dataset_says_what_it_is_for_and_why(gateway):
    (dataset,) = gateway.admin.get("/datasets", params={"project": "birds"}).json()["items"]

    assert (dataset["task"], dataset["task_reason"]) == (
        "classification",
        "2 different text values",
    )


def test_version_says_its_source_and_what_it_does_not_hold(gateway):
    (version,) = gateway.admin.get("/datasets/birds/songs/versions").json()["items"]

    (remark,) = version["remarks"]
    assert (version["source"], version["task"]) == ("files:songs.csv", "classification")
    assert remark.pop("reason").startswith("39 of 40 values are numbers and the others are not")
    assert remark == {
        "subject": "width",
        "about": "column",
        "action": "left_out",
        "count": 1,
        "example": "n/a?",
        "file": "songs.csv",
        "line": 9,
    }
