"""A search of sixteen small trials through the platform, against plain Ray Tune with Optuna.

Both start cold, train the same network with values from the same ranges, keep a checkpoint of every
epoch and export every trial's model. The platform also keeps its trials for a later attempt,
evaluates the best model on test rows and draws its pictures.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import in_turns, show, temporary_state
from benchmarks.steps import dataset_of_digits
from engine import lease
from projects.search import Search
from resources.compute.local import LocalCompute
from training.contract import DatasetFiles, TrainingResult, TrainingSpec
from training.data import split_arrays

REPEATS = 3
TRIALS = 16
EPOCHS = 3
Report = Callable[[dict[str, float], str], None]


def main() -> None:
    """Print trials per second."""
    with temporary_state() as state:
        dataset = dataset_of_digits(state)
        file = state / "dataset.json"
        file.write_text(dataset.model_dump_json())
        contenders = {
            "Ray Tune": lambda: _plain(file, reuse=False),
            "Ray Tune, processes reused": lambda: _plain(file, reuse=True),
            "platform": lambda: _platform(state, dataset),
        }
        values = in_turns(contenders, REPEATS)
    show("Search", "trials/s", values, "Ray Tune", ">= 0.9")


def train(config: dict[str, Any]) -> None:
    """The trainer of the platform's job."""
    import ray.train

    def report(metrics: dict[str, float], folder: str) -> None:
        checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report(metrics, checkpoint=checkpoint)

    learn(config, report)


def learn(config: dict[str, Any], report: Report) -> None:
    """A network of one hidden layer on the digits; its model is exported after the last epoch."""
    images, labels = split_arrays(config["dataset"], "train")
    images_BF, labels_B = torch.from_numpy(images) / 16, torch.from_numpy(labels)
    width = config["width"]
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
    loss = torch.zeros(())
    for epoch in range(1, EPOCHS + 1):
        for batch in torch.randperm(len(labels_B)).split(64):
            loss = torch.nn.functional.cross_entropy(model(images_BF[batch]), labels_B[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        with tempfile.TemporaryDirectory() as folder:
            torch.save(model.state_dict(), Path(folder, "state.pt"))
            if epoch == EPOCHS:
                dynamic = ({0: torch.export.Dim("batch")},)
                program = torch.export.export(model, (images_BF[:2],), dynamic_shapes=dynamic)
                torch.export.save(program, Path(folder, "model.pt2"))
            report({"epoch": epoch, "loss": loss.item()}, folder)


def _platform(state: Path, dataset: DatasetFiles) -> float:
    compute = LocalCompute(state / "work", state / "no-warm-server")
    job = f"search-{time.time_ns()}"
    over = {"learning_rate": {"log_uniform": [1e-4, 1e-1]}, "width": {"integer": [16, 128]}}
    declared = {"over": over, "metric": "loss", "trials": TRIALS, "stop_early": False}
    spec = TrainingSpec(
        job=job,
        workdir=compute.workdir(job),
        timeout_s=600,
        project="digits",
        model="reader",
        trainer="benchmarks.search:train",
        hyperparameters={"epochs": EPOCHS},
        search=Search.model_validate({**declared, "at_once": 2}),
        seed=0,
        dataset=dataset,
    )
    spec.workdir.mkdir(parents=True)
    lease.renew(spec.workdir)
    began = time.monotonic()
    result = compute.run("training.main", spec, TrainingResult, lambda line: None)
    assert result.search and result.search.states == {"finished": TRIALS}
    return TRIALS / (time.monotonic() - began)


def _plain(dataset: Path, *, reuse: bool) -> float:
    began = time.monotonic()
    argv = [sys.executable, "-m", "benchmarks.search", str(dataset), str(reuse)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return TRIALS / (time.monotonic() - began)


def _tune(dataset: DatasetFiles, *, reuse: bool) -> None:
    """What a person writes who follows Ray Tune's documentation."""
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    given = dataset.model_dump(exclude={"test", "splits"})

    def trial(config: dict[str, Any]) -> None:
        torch.set_num_threads(1)

        def report(metrics: dict[str, float], folder: str) -> None:
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))

        learn({**config, "dataset": given}, report)

    ray.init(address="local", num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1")
    space = {"learning_rate": tune.loguniform(1e-4, 1e-1), "width": tune.randint(16, 129)}
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            tune.with_resources(trial, {"CPU": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="loss",
                mode="min",
                search_alg=OptunaSearch(seed=0),
                num_samples=TRIALS,
                max_concurrent_trials=2,
                reuse_actors=reuse,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        assert results.num_errors == 0
        assert results.get_best_result().checkpoint
    ray.shutdown()


if __name__ == "__main__":
    described = DatasetFiles.model_validate_json(Path(sys.argv[1]).read_text())
    _tune(described, reuse=sys.argv[2] == "True")
