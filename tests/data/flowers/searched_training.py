"""Training functions whose result depends on their hyperparameters in a known way."""

import json
import os
import tempfile
import time
from pathlib import Path

import ray.train
import torch
from ray.train import Checkpoint


def train(config):
    """Reports (x - 0.7)² + penalty + 1 / epoch; the model is exported at the end."""
    log = Path(config["log"]) if "log" in config else None
    for epoch in range(_first_epoch(), config["epochs"] + 1):
        time.sleep(config.get("epoch_s", 0))
        if log:
            with log.open("a") as file:
                x = config.get("x")
                file.write(json.dumps({"x": x, "epoch": epoch, "pid": os.getpid()}) + "\n")
        _misbehave(config, epoch)
        loss = (config.get("x", 0) - 0.7) ** 2 + config.get("penalty", 0) + 1 / epoch
        _report(epoch, {"validation_loss": loss}, is_last=epoch == config["epochs"])


def _misbehave(config, epoch):
    mood = config.get("mood", "well")
    once = Path(config.get("once", "/nonexistent"))
    if mood == "raises" and epoch == 2:
        raise RuntimeError("the loss function met a unicorn")
    if mood == "diverges" and epoch == 2:
        ray.train.report({"epoch": epoch, "validation_loss": float("nan")})
    if mood == "dies" and epoch == 2:
        os.kill(os.getpid(), 9)
    if mood == "dies once" and epoch == 2 and not once.exists():
        once.touch()
        os.kill(os.getpid(), 9)


def report_other_names(config):
    """Reports no validation_loss."""
    _report(1, {"loss": 1.0, "accuracy": 0.5}, is_last=True)


def _first_epoch():
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 1
    return json.loads(Path(checkpoint.path, "state.json").read_text())["epoch"] + 1


def _report(epoch, metrics, *, is_last):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "state.json").write_text(json.dumps({"epoch": epoch}))
        if is_last:
            model = torch.nn.Linear(4, 3)
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.export.export(model, (torch.zeros(2, 4),), dynamic_shapes=shapes)
            torch.export.save(program, Path(folder, "model.pt2"))
        checkpoint = Checkpoint.from_directory(folder)
        ray.train.report({"epoch": epoch, **metrics}, checkpoint=checkpoint)
