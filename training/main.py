"""One training job as a process: `python -m training.main SPEC`.

Reads a TrainingSpec, trains by Ray Train, exports, evaluates, and writes a TrainingResult.
"""

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import ray
import ray.train
import torch
from ray.train import FailureConfig, Result, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from engine import lease
from engine.artefact import read_signature, seal
from engine.checkpoints import CHECKPOINTS, CheckpointFolder
from engine.progress import history_of
from engine.protocol import Refused, TryAgain, end_process, run_engine
from training import journal, start, worker
from training.contract import TrainingResult, TrainingSpec
from training.fitted import Fitted
from training.rehearsal import rehearse

RAY_START_ATTEMPTS = 3


def work(spec: TrainingSpec) -> TrainingResult:
    """The result of training as the spec says.

    Raises Refused or TryAgain with the reason.
    """
    lease.hold(spec.workdir)
    lease.stop_when_abandoned(spec.workdir, spec.lease_s)
    os.environ.update(spec.env_vars)
    torch.set_num_threads(spec.cpus_per_worker)
    start.bring(spec)
    if spec.dry_run and CheckpointFolder(spec.workdir / CHECKPOINTS).newest_valid() is None:
        rehearse(spec)
    use_gpu = is_on_gpus(spec)
    fitted = fit(spec, use_gpu)
    return gather(spec, fitted, "cuda" if use_gpu else "cpu")


def is_on_gpus(spec: TrainingSpec) -> bool:
    """Whether the workers have GPUs: on a cluster those that were declared, else this machine's."""
    is_elsewhere = _needs_ray(spec) and spec.ray_address is not None
    return spec.gpus_per_worker > 0 and (is_elsewhere or torch.cuda.is_available())


def _needs_ray(spec: TrainingSpec) -> bool:
    """Whether other processes work for the job."""
    return spec.workers > 1 or spec.search is not None


def fit(spec: TrainingSpec, use_gpu: bool) -> Fitted:
    """What the trainer left: its newest checkpoint, and how it came there.

    Raises Refused, TryAgain, and whatever the trainer raises.
    """
    if _needs_ray(spec):
        _start_ray(spec)
        try:
            return _search(spec, use_gpu) if spec.search else _fit_on_ray(spec, use_gpu)
        finally:
            ray.shutdown()
    outcome: dict[str, Any] = {}
    if not use_gpu:
        # Trainers use any GPU that they find, and this job has reserved none.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""

    def local(config: dict[str, Any]) -> None:
        outcome["reporter"] = worker.train(spec, config)

    # 0 is Ray Train's local mode: the same API without a Ray cluster, which takes long to start.
    scaling = ScalingConfig(num_workers=0)
    TorchTrainer(local, train_loop_config=_config(spec), scaling_config=scaling).fit()
    reporter = outcome["reporter"]
    checkpoint = reporter.get_checkpoint()
    return Fitted(
        Path(checkpoint.path) if checkpoint else None,
        history_of(spec.workdir),
        reporter.resumed_from,
        reporter.session.first_report_at,
    )


def _search(spec: TrainingSpec, use_gpu: bool) -> Fitted:
    # Loading it takes a second, which a training without a search need not wait for.
    from training.search.job import search

    assert spec.search
    return search(spec, spec.search, _config(spec), use_gpu=use_gpu)


def _fit_on_ray(spec: TrainingSpec, use_gpu: bool) -> Fitted:
    book, first = journal.open_here(spec.workdir), start.given_to_workers(spec)

    def remote(config: dict[str, Any]) -> None:
        # A worker may run on another machine, where these variables are not set.
        os.environ.update(spec.env_vars)
        worker.train(spec, config, book, first)

    is_elastic = spec.min_workers < spec.workers
    scaling = ScalingConfig(
        num_workers=(spec.min_workers, spec.workers) if is_elastic else spec.workers,
        use_gpu=use_gpu,
        resources_per_worker={
            "CPU": spec.cpus_per_worker,
            **({"GPU": spec.gpus_per_worker} if use_gpu else {}),
        },
    )
    run = RunConfig(
        # Ray resumes a run of the same name and storage path, so every attempt uses the same ones.
        name=spec.job,
        storage_path=spec.ray_storage or str(spec.workdir / "ray"),
        # As often as the compute adapter restarts an engine: ATTEMPTS of its contract is 3.
        failure_config=FailureConfig(max_failures=2),
    )
    try:
        fitted: Result = TorchTrainer(
            remote, train_loop_config=_config(spec), scaling_config=scaling, run_config=run
        ).fit()
        checkpoint = _brought(fitted.checkpoint, spec.workdir / "checkpoint")
        return Fitted(checkpoint, history_of(spec.workdir))
    except ray.train.TrainingFailedError as error:
        # Ray has already restarted the workers, so another attempt would fail as well.
        raise Refused(f"{spec.trainer} failed on {spec.workers} workers: {error}") from error


def _brought(checkpoint: ray.train.Checkpoint | None, folder: Path) -> Path | None:
    """The checkpoint as a folder of this machine, wherever the workers have kept it."""
    if checkpoint is None:
        return None
    shutil.rmtree(folder, ignore_errors=True)
    return Path(checkpoint.to_directory(str(folder)))


def _start_ray(spec: TrainingSpec) -> None:
    """Join or start Ray; a start can fail on a busy machine for no lasting reason (ray#65983)."""
    at_once = spec.search.at_once if spec.search else spec.workers
    # By default whatever else this machine does goes before the workers.
    os.environ.setdefault("RAY_worker_niceness", "0")
    for attempt in range(1, RAY_START_ATTEMPTS + 1):
        try:
            if spec.ray_address:
                ray.init(address=spec.ray_address, log_to_driver=True)
            else:
                ray.init(
                    # Without an address Ray joins any cluster that it finds on this machine.
                    address="local",
                    # At least what the workers ask for, because Ray waits for ever for CPUs that it
                    # does not count.
                    num_cpus=max(os.cpu_count() or 1, at_once * spec.cpus_per_worker),
                    include_dashboard=False,
                    # Private: by default the processes of Ray listen on all network interfaces.
                    _node_ip_address="127.0.0.1",
                )
            return
        except (RuntimeError, ConnectionError, TimeoutError) as error:
            ray.shutdown()
            if attempt == RAY_START_ATTEMPTS:
                raise TryAgain(f"Ray did not start in {attempt} attempts: {error}") from error


def _config(spec: TrainingSpec) -> dict[str, Any]:
    config = {**spec.hyperparameters, "seed": spec.seed}
    if spec.dataset:
        # Test rows judge the model, so nothing learns from them.
        config["dataset"] = spec.dataset.model_dump(exclude={"test", "splits"})
    return config


def gather(spec: TrainingSpec, fitted: Fitted, device: str) -> TrainingResult:
    """The result: the export, its metrics on the held-out split, and pictures. Raises Refused."""
    # Loading these takes seconds, which the first training step need not wait for.
    from training.evaluation import draw_curves, evaluate
    from training.export import export

    checkpoint, history = fitted.checkpoint, fitted.history
    if checkpoint is None:
        raise Refused(
            f"{spec.trainer} ended without reporting a checkpoint; expected at least one "
            "ray.train.report(metrics, checkpoint=...)"
        )
    pictures = spec.workdir / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    artefact = spec.workdir / "artefact"
    digest = export(checkpoint, artefact, spec.dataset)
    packages = spec.workdir / "packages.txt"
    packages.write_text(_packages())
    draw_curves(history, pictures / "curves.png")
    fitted.draw(pictures)
    last = history[-1] if history else {}
    metrics = {k: v for k, v in last.items() if k not in ("step", spec.units[0])}
    if spec.dataset and spec.dataset.label:
        metrics |= evaluate(artefact, spec.dataset, pictures)
    return TrainingResult(
        checkpoint=checkpoint,
        checkpoint_digest=seal(checkpoint),
        artefact=artefact,
        artefact_digest=digest,
        signature=read_signature(artefact),
        metrics=metrics,
        pictures=sorted(pictures.iterdir()),
        packages=packages,
        reports=len(history),
        search=fitted.search,
        resumed_from=fitted.resumed_from,
        first_report_at=fitted.first_report_at,
        device=device,
    )


def _packages() -> str:
    """Every installed distribution with its version, as pip reads them."""
    packages = {f"{d.name}=={d.version}" for d in importlib.metadata.distributions()}
    return "\n".join(sorted(packages, key=str.lower)) + "\n"


if __name__ == "__main__":
    end_process(run_engine(TrainingSpec, work, sys.argv))
