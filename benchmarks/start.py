"""Wall time from the order to the first training step: plain glue, cold, and with `orrery up`.

Plain glue is what one writes without a platform: Dagster's default multiprocess executor, a Ray
cluster started for the job, Ray Train with one worker, and `mlflow` called directly. The same
training function notes the time of its first step in all three. Databases exist beforehand.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from api.processes.plan import free_port
from benchmarks.measure import console, in_turns, show
from resources.settings import CHECKOUT

REPEATS = 3
TRAINING = """
import os, tempfile, time
from pathlib import Path
import numpy as np
import ray.train, torch
from ray.train import Checkpoint


def train(config):
    features = torch.tensor(np.random.default_rng(0).random((1347, 64)), dtype=torch.float32)
    labels = torch.arange(1347) % 10
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in range(1, 11):
        for batch in torch.randperm(1347).split(64):
            loss = torch.nn.functional.cross_entropy(model(features[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mark = Path(os.environ["BENCH_MARK"])
            if not mark.exists():
                mark.write_text(str(time.time()))
        metrics = {"epoch": epoch, "loss": loss.item()}
        if config.get("glue"):
            import mlflow
            mlflow.log_metric("loss", loss.item(), step=epoch)
        with tempfile.TemporaryDirectory() as folder:
            if epoch == 10 and not config.get("glue"):
                shapes = ({0: torch.export.Dim("batch")},)
                program = torch.export.export(model, (features[:2],), dynamic_shapes=shapes)
                torch.export.save(program, Path(folder, "model.pt2"))
            torch.save(model.state_dict(), Path(folder, "state.pt"))
            ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder))
"""
GLUE = """
import os, tempfile
import dagster as dg


@dg.asset
def rows() -> int:
    return 1797


@dg.asset
def model(rows: int) -> float:
    import mlflow, ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from bench_training import train

    ray.init(address="local", num_cpus=2, include_dashboard=False)
    uri = os.environ["MLFLOW_TRACKING_URI"]

    def worker(config):
        import mlflow
        mlflow.set_tracking_uri(uri)
        with mlflow.start_run():
            train(config)

    trainer = TorchTrainer(
        worker,
        train_loop_config={"glue": True},
        scaling_config=ScalingConfig(num_workers=1),
        run_config=RunConfig(storage_path=tempfile.mkdtemp()),
    )
    return trainer.fit().metrics["loss"]


defs = dg.Definitions([rows, model])
"""
PROJECT = """
project: bench
owner: team:bench
models:
  mlp:
    trainer: bench_training:train
    hyperparameters: {epochs: 10}
"""
LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename ... on PythonError { message } }
}
"""


class Bench:
    """The folder of one benchmark and the three ways to start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = folder / "mark"
        (folder / "projects").mkdir()
        for place in (folder, folder / "projects"):
            (place / "bench_training.py").write_text(TRAINING)
        (folder / "glue.py").write_text(GLUE)
        (folder / "projects" / "bench.yaml").write_text(PROJECT)
        self.state = folder / "state"
        self.state.mkdir()
        self._ports = {
            name: str(free_port("127.0.0.1"))
            for name in ("ORRERY_PORT", "ORRERY_ROUTER_PORT", "ORRERY_ROUTER_GRPC_PORT")
        }
        self.env = {
            **os.environ,
            **self._ports,
            "BENCH_MARK": str(self._mark),
            "PYTHONPATH": f"{folder}:{CHECKOUT}",
            "ORRERY_STATE": str(self.state),
            "ORRERY_PROJECTS": str(folder / "projects"),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._create_databases()

    def _create_databases(self) -> None:
        from mlflow.tracking import MlflowClient

        MlflowClient(f"sqlite:///{self.state}/mlflow.db").search_experiments()
        shutil.copy(self.state / "mlflow.db", self._folder / "glue.db")

    def glue(self) -> float:
        """Seconds of plain glue."""
        home = Path(tempfile.mkdtemp(dir=self._folder))
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        env = {
            **self.env,
            "DAGSTER_HOME": str(home),
            "MLFLOW_TRACKING_URI": f"sqlite:///{self._folder}/glue.db",
        }
        command = ["dagster", "asset", "materialize", "-f", "glue.py", "--select", "*"]
        return self._first_step(command, self._folder, env)

    def cold(self) -> float:
        """Seconds of `dagster asset materialize` with nothing running."""
        command = ["dagster", "asset", "materialize", "-m", "definitions"]
        command += ["--select", 'key:"bench/checkpoint/mlp_checkpoint"']
        return self._first_step(command, CHECKOUT, {**self.env, "DAGSTER_HOME": str(CHECKOUT)})

    def warm(self) -> float:
        """Seconds from the launch in the Dagster UI, with `orrery up` running."""
        self._mark.unlink(missing_ok=True)
        began = time.time()
        url = f"http://127.0.0.1:{self._ports['ORRERY_PORT']}/dagster/graphql"
        headers = {"Authorization": f"Bearer {(self.state / 'admin.key').read_text().strip()}"}
        selector = {
            "repositoryLocationName": "orrery",
            "repositoryName": "__repository__",
            "jobName": "train_bench",
        }
        params = {"selector": selector, "runConfigData": json.dumps({})}
        body = {"query": LAUNCH, "variables": {"params": params}}
        answer = httpx.post(url, json=body, headers=headers, timeout=60).json()
        assert answer["data"]["launchRun"]["__typename"] == "LaunchRunSuccess", answer
        while not self._mark.exists():
            time.sleep(0.005)
        duration_s = float(self._mark.read_text()) - began
        while list((self.state / "work").glob("*")):
            time.sleep(0.1)
        return duration_s

    def _first_step(self, command: list[str], folder: Path, env: dict[str, str]) -> float:
        self._mark.unlink(missing_ok=True)
        began = time.time()
        subprocess.run(
            [sys.executable, "-m", *command], cwd=folder, env=env, check=True, capture_output=True
        )
        return float(self._mark.read_text()) - began


def main() -> None:
    """Print seconds to the first step."""
    with tempfile.TemporaryDirectory(prefix="orrery-bench-") as name:
        bench = Bench(Path(name))
        cold = in_turns({"plain glue": bench.glue, "Orrery, cold": bench.cold}, REPEATS)
        warm = _warm(bench)
        values = {**cold, "Orrery, warm": warm}
    show("To the first training step", "s", values, "plain glue", "cold 1/5, warm 1/40")


def _warm(bench: Bench) -> list[float]:
    log = (bench.state / "up.log").open("wb")
    up = subprocess.Popen(
        [sys.executable, "-c", "from api.cli.main import main; main()", "up"],
        cwd=CHECKOUT,
        env=bench.env,
        stdout=log,
        stderr=log,
    )
    try:
        while b"Ctrl-C" not in (bench.state / "up.log").read_bytes():
            if up.poll() is not None:
                console.print((bench.state / "up.log").read_text())
                raise RuntimeError("orrery up ended")
            time.sleep(0.2)
        return [bench.warm() for _ in range(REPEATS + 2)][2:]
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(90)
        log.close()
