"""Training learns from the version that its declaration describes, and from pictures."""

import numpy as np
import pytest
from PIL import Image

from projects.loading import load_project

FLOWERS = "wing,leaf,target\n" + "".join(f"{i % 3}.5,{i % 5},{i % 3}\n" for i in range(60))
EYES = """\
project: flowers
owner: team:botany
datasets:
  petals:
    source: images:petals
    label: label
    image: {height: 8, width: 8}
models:
  eyes:
    dataset: petals
    trainer: training.vision:train
    hyperparameters: {epochs: 3, learning_rate: 0.01, batch_size: 8}
"""


@pytest.fixture
def declare(loop, flowers):
    """Lets the project's declaration say something else."""

    def other(before, after):
        file = flowers / "flowers.yaml"
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))
        loop.project = load_project(file)

    return other


def test_version_of_another_source_is_refused_until_the_dataset_is_made(loop, flowers, declare):
    (flowers / "a.csv").write_text(FLOWERS)
    assert loop.materialize("dataset").success
    version = loop.metadata("dataset", "iris")["version"]
    declare("sklearn:iris", "files:a.csv")

    refused = loop.failure_of(loop.materialize("checkpoint"))

    assert refused == (
        f"dataset iris version {version[:12]} was made from `sklearn:iris`, and the declaration "
        "says `files:a.csv`; materialise the dataset"
    )
    created = loop.materialize("dataset", "checkpoint")
    assert created.success, loop.failure_of(created)


def test_version_that_is_asked_for_must_fit_the_declaration_too(loop, flowers, declare):
    (flowers / "a.csv").write_text(FLOWERS)
    assert loop.materialize("dataset").success
    version = loop.metadata("dataset", "iris")["version"]
    declare("sklearn:iris", "files:a.csv")
    assert loop.materialize("dataset").success

    config = {"flowers__checkpoint__classifier": {"dataset_version": version}}
    refused = loop.failure_of(loop.materialize("checkpoint", **config))

    assert "was made from `sklearn:iris`, and the declaration says `files:a.csv`" in refused


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("label: target", "label: petal_width__cm", "label target, and the declaration says label"),
        ("seed: 1}", "seed: 2}", "other values for split, read, task"),
    ],
)
def test_other_label_or_split_is_refused_as_well(before, after, says, loop, declare):
    assert loop.materialize("dataset").success
    declare(before, after)

    assert says in loop.failure_of(loop.materialize("checkpoint"))


def test_expectations_that_changed_are_judged_without_another_version(loop, declare):
    assert loop.materialize("dataset").success
    declare("label: target", "label: target\n    expect: {rows: {at_least: 151}}")

    refused = loop.failure_of(loop.materialize("checkpoint"))

    assert "has_enough_rows: 150 rows, expected at least 151" in refused


def test_dataset_that_breaks_a_claim_is_told_before_any_training(loop, flowers, declare):
    (flowers / "a.csv").write_text(FLOWERS.replace("0.5,0,0", "0.5,0,nan"))
    declare("sklearn:iris", "files:a.csv")
    loop.materialize("dataset")

    refused = loop.failure_of(loop.materialize("checkpoint"))

    assert "labels_are_usable: 4 rows have no target (null or NaN)" in refused


def test_float_classes_are_learned_as_classes(loop, flowers):
    rows = "".join(f"{i % 2},{i % 5},0,1,{i % 2}.0\n" for i in range(60))
    (flowers / "a.csv").write_text(f"a,b,c,d,label\n{rows}")
    pixels = "images:petals\n    label: label\n    image: {height: 8, width: 8}"
    (flowers / "flowers.yaml").write_text(EYES.replace(pixels, "files:a.csv\n    label: label"))
    loop.project = load_project(flowers / "flowers.yaml")

    created = loop.materialize("dataset", "checkpoint")

    assert created.success, loop.failure_of(created)
    assert loop.metadata("dataset", "petals")["task"] == "classification"
    assert loop.metadata("checkpoint", "eyes")["test_accuracy"] > 0.9


def test_image_trainer_learns_from_a_folder_of_pictures(loop, flowers):
    for i in range(40):
        pixels = np.zeros((12, 12), np.uint8)
        pixels[:, slice(0, 6) if i % 2 else slice(6, 12)] = 150 + i
        file = flowers / "petals" / ("left" if i % 2 else "right") / "2024" / f"{i}.webp"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file, lossless=True)
    (flowers / "flowers.yaml").write_text(EYES)
    loop.project = load_project(flowers / "flowers.yaml")

    created = loop.materialize("dataset", "checkpoint")

    assert created.success, loop.failure_of(created)
    assert loop.metadata("checkpoint", "eyes")["test_accuracy"] == 1


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("", "declare image: {height: ..., width: ...}"),
        ("    image: {height: 8, width: 12}\n", "must be those of images as high as they are wide"),
    ],
)
def test_image_trainer_says_which_pixels_it_needs(image, says, loop, flowers):
    for i in range(8):
        file = flowers / "petals" / ("left" if i % 2 else "right") / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), i).save(file)
    text = EYES.replace("    image: {height: 8, width: 8}\n", image)
    (flowers / "flowers.yaml").write_text(text)
    loop.project = load_project(flowers / "flowers.yaml")

    assert says in loop.failure_of(loop.materialize("dataset", "checkpoint"))
