"""Rows of a dataset version as arrays."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from engine.bucket import Bucket
from engine.protocol import Refused
from engine.rows import ROWS_AT_ONCE, read_matrix, read_rows, read_share, targets_of

SPLITS = ("train", "validation")
"""Splits that trainers are given."""
SHUFFLED = 262_144
"""Rows of a block that are shuffled together, in memory."""


class AskedForTestRows(Refused):
    """A trainer asked for the rows that judge its model."""


class GivenDataset(dict[str, Any]):
    """`config["dataset"]` as a trainer is given it: without test rows, and an error that says so
    for whoever asks for them."""

    def __getitem__(self, key: str) -> Any:
        _require_no_test(key, self)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of the key. Raises AskedForTestRows."""
        _require_no_test(key, self)
        return super().get(key, default)


def _require_no_test(key: str, dataset: GivenDataset) -> None:
    if key == "test" and key not in dataset:
        raise AskedForTestRows(
            'the trainer reads config["dataset"]["test"], the rows that judge the model, which no '
            'trainer is given; expected "train", or "validation" for rows to choose by: declare '
            "split: {validation: 0.1} for the dataset"
        )


def split_arrays(dataset: dict[str, Any], split: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets of one split of `config["dataset"]`.

    Features are float32 [rows, features]; targets are int64 class positions [rows], or
    float32 values where the label is not discrete.
    """
    label, classes = dataset["label"], dataset["classes"]
    features = read_matrix(dataset[split], dataset["features"])
    targets = targets_of(read_rows(dataset[split], [label]).column(label), classes)
    return features, targets if classes else targets.astype(np.float32)


def batches(
    dataset: dict[str, Any], split: str, size: int, seed: int | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of one split of `config["dataset"]`, in batches of at most that many rows, for a
    trainer whose data do not fit into memory: columns, label and weight.

    Each of several workers gets a part of its own; all have as many rows, because each waits for
    the others after every step, so up to one row less than there are workers is left out.

    With a seed they come in an order of blocks that it decides, and shuffled within each block of
    `SHUFFLED` rows; without one as they are written. Another seed for every epoch gives another
    order. Raises OSError or pyarrow.ArrowException.
    """
    names = dict.fromkeys([*_names_of(dataset), dataset["label"], dataset.get("weight")])
    columns = [name for name in names if name is not None]
    if seed is None:
        yield from read_share(dataset[split], columns, size, *_part_and_parts())
        return
    generator = np.random.default_rng(seed)
    files = [dataset[split][i] for i in generator.permutation(len(dataset[split]))]
    held: list[pa.RecordBatch] = []
    for batch in read_share(files, columns, ROWS_AT_ONCE, *_part_and_parts()):
        held.append(batch)
        if sum(each.num_rows for each in held) >= SHUFFLED:
            yield from _shuffled(held, size, generator)
            held = []
    if held:
        yield from _shuffled(held, size, generator)


def _part_and_parts() -> tuple[int, int]:
    """Rank of this worker, and how many there are."""
    # A trainer may try its own code outside of a training.
    import ray.train

    try:
        context = ray.train.get_context()
        return context.get_world_rank(), context.get_world_size()
    except RuntimeError:
        return 0, 1


def _names_of(dataset: dict[str, Any]) -> list[str]:
    return [column["name"] for column in dataset.get("columns", ())] or dataset["features"]


def _shuffled(
    held: list[pa.RecordBatch], size: int, generator: np.random.Generator
) -> Iterator[pa.RecordBatch]:
    block = pa.Table.from_batches(held)
    order = pa.array(generator.permutation(block.num_rows))
    yield from block.take(order).combine_chunks().to_batches(max_chunksize=size)


def brought_here(dataset: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The dataset with its files under the folder, where they lay in a bucket.

    A trainer reads files, whatever library it reads them with, and need not know of buckets.
    Raises OSError.
    """
    splits = [split for split in SPLITS if split in dataset]
    return {**dataset, **{split: _local(dataset[split], folder / split) for split in splits}}


def _local(files: Sequence[str], folder: Path) -> list[str]:
    here = []
    for number, file in enumerate(files):
        if "://" not in file:
            here.append(file)
            continue
        place, _, name = file.rpartition("/")
        # Numbered, because files of different folders may have the same name.
        target = folder / f"{number:04d}-{name}"
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            # Renamed when complete, so that an interrupted download does not count as the file.
            draft = target.with_name(f".{target.name}.{os.getpid()}")
            Bucket(place).download(name, draft)
            draft.replace(target)
        here.append(str(target))
    return here
