"""Training functions of the test project, written as Ray Train's documentation teaches."""

import json
import os
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import ray.train
import torch
from ray.train import Checkpoint


def train(config):
    """Softmax regression; learns the labels, or with `wrong` their opposite."""
    table = pq.ParquetDataset(config["dataset"]["train"]).read()
    features = torch.tensor([table[name].to_pylist() for name in config["dataset"]["features"]]).T
    labels = torch.tensor(table[config["dataset"]["label"]].to_pylist())
    if config.get("wrong"):
        labels = (labels + 1) % 3
    model = torch.nn.Linear(features.shape[1], 3)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=50)

    def loss():
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(model(features.float()), labels)
        value.backward()
        return value

    for epoch in range(first_epoch(model), config["epochs"] + 1):
        time.sleep(config.get("epoch_s", 0))
        value = float(optimizer.step(loss))
        counted = {"rows": rows_of_worker(config)} if config.get("count_rows") else {}
        report(model, {"epoch": epoch, "loss": value, "pid": os.getpid(), **counted})


def rows_of_worker(config):
    """How many rows this worker is given."""
    from training.data import batches

    return sum(batch.num_rows for batch in batches(config["dataset"], "train", 16))


def first_epoch(model):
    """The epoch to begin with."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 1
    state = torch.load(Path(checkpoint.path, "state.pt"), weights_only=True)
    model.load_state_dict(state["model"])
    return state["epoch"] + 1


def report(model, metrics):
    """Report with a checkpoint that can be exported."""
    with tempfile.TemporaryDirectory() as folder:
        state = {"model": model.state_dict(), "epoch": metrics["epoch"]}
        torch.save(state, Path(folder, "state.pt"))
        program = torch.export.export(
            model,
            (torch.zeros(2, model.in_features),),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
        torch.export.save(program, Path(folder, "model.pt2"))
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def explode(config):
    """Raise like any bug would."""
    raise RuntimeError("the loss function met a unicorn")


def stay_silent(config):
    """Never report."""
    while True:
        time.sleep(0.1)


def diverge(config):
    """Report a loss that is not a number."""
    ray.train.report({"epoch": 1, "loss": float("nan")})


def forget_checkpoint(config):
    """Report, but leave nothing to export."""
    ray.train.report({"epoch": 1, "loss": 0.5})


def die(config):
    """End the process without a word, as the kernel's memory killer does."""
    os.kill(os.getpid(), 9)


def record(config):
    """Keep the hyperparameters that arrived as JSON, and learn nothing."""
    kept = {key: value for key, value in config.items() if key != "dataset"}
    Path(config["into"]).write_text(json.dumps(kept))
    raise RuntimeError("there is nothing to learn")
