"""Checkpoints: each materialisation trains, and leaves a checkpoint and an exported artefact."""

import json
from collections.abc import Iterator

import dagster as dg
from dagster import AssetExecutionContext, MetadataValue

from assets.dataset_versions import usable_version
from assets.failures import translated_errors
from assets.keys import asset_key, asset_spec, op_name
from assets.metadata import Report, pictures
from assets.named_models import with_named_models
from assets.recipe import adds_nothing, is_new_code, recipe_of
from assets.step_log import StepLog
from assets.training_record import begin, record, record_failure
from assets.upstream import driver_of, job_identity
from engine.artefact import verify
from engine.checkpoints import CHECKPOINTS, newest_checkpoint
from projects.loading import CHECKOUT, LoadedProject
from projects.schema import Model
from projects.search import Search
from projects.trainers import require_hyperparameters
from resources.compute.contract import Compute
from resources.compute.requirements import Requirements
from resources.datasets.store import DatasetStore, DatasetVersion
from resources.settings import Settings
from resources.storage.object_store import ObjectStore, size_of
from resources.tracking.adapter import TrackedRun, Tracking
from training.contract import (
    DatasetFiles,
    MlflowRun,
    SearchResult,
    TrainingResult,
    TrainingSpec,
)

MOST_SHOWN = 200
"""Trials that the metadata of a materialisation show."""


class TrainingConfig(dg.Config):
    """What one dagster_run may change about the declared training."""

    # A plain dict: Dagster checks the members of `dict[str, Any]`, and takes no null among them.
    hyperparameters: dict = {}
    """Values that replace declared ones in this dagster_run only; it does not search over them."""
    search: dict = {}
    """Search in place of the declared one, as a declaration writes it."""
    searches: bool = True
    """Whether hyperparameters are searched for, where a search is declared or given."""
    seed: int | None = None
    """Seed that replaces the declared one."""
    dataset_version: str | None = None
    """Content hash of the dataset version to learn from; by default the newest."""
    workers: int | None = None
    """Number of workers that replaces the declared one."""
    gpus_per_worker: int | None = None
    """GPUs of each worker in place of the declared ones."""
    cpus_per_worker: int | None = None
    """CPUs of each worker in place of the declared ones."""
    gpu_kind: str | None = None
    """Kind of the GPUs in place of the declared one, such as `A100`."""
    memory: str | None = None
    """Memory of each worker in place of the declared one, such as `2Gi`."""
    timeout_s: float | None = None
    """Longest time the job may train, in place of the declared one."""
    from_checkpoint: str | None = None
    """Content hash of the checkpoint to go on from; by default the training begins afresh."""
    from_reports: int = 0
    """Reports that the training of that checkpoint had made."""


def build_checkpoint(project: LoadedProject, name: str) -> dg.AssetsDefinition:
    """The asset of one model's training."""
    declared = project.declaration.models[name]
    key = asset_key(project.name, "checkpoint", name)
    deps = [asset_key(project.name, "dataset", declared.dataset)] if declared.dataset else []
    spec = asset_spec(
        project,
        "checkpoint",
        name,
        deps=deps,
        kinds={"pytorch", "ray"},
        description=f"{declared.description}\n\nState that training `{declared.trainer}` can "
        "resume from, and beside it the exported artefact: the bytes that are registered, "
        "attacked, gated and served. Progress is in the log; curves are here and in MLflow. A "
        "killed training resumes from its newest whole checkpoint. Where drift has started it and "
        "nothing is new to learn from, it is skipped and says so.",
        metadata={"trainer": declared.trainer},
        is_skippable=True,
    )

    @dg.multi_asset(name=op_name(project.name, "checkpoint", name), specs=[spec])
    def checkpoint(
        context: AssetExecutionContext,
        config: TrainingConfig,
        settings: dg.ResourceParam[Settings],
        datasets: dg.ResourceParam[DatasetStore],
        compute: dg.ResourceParam[Compute],
        objects: dg.ResourceParam[ObjectStore],
        tracking: dg.ResourceParam[Tracking],
    ) -> Iterator[dg.MaterializeResult]:
        report = Report()
        job = job_identity(context, key)
        with translated_errors(), compute.loading("training.main", job):
            dataset = _dataset(context, project, name, config, datasets)
            requirements = requirements_of(declared, config)
            training = _spec(project, name, config, requirements, compute, job, dataset)
            training = with_named_models(training, project.base, objects)
            training = _from_checkpoint(training, config, objects)
            if settings.dry_run and is_new_code(tracking, project, name):
                place = project.place(f"models.{name}.trainer")
                training = training.model_copy(update={"dry_run": True, "declared_at": place})
            recipe = recipe_of(project, training)
            # Asked before the mlflow_run is created, so that a skipped training leaves none.
            if adds_nothing(context, tracking, project, name, recipe):
                return
            run = begin(context, tracking, settings, project, training, dataset)
            log = StepLog(context)
            trained = _train(
                context,
                log,
                compute,
                objects,
                tracking,
                run,
                training,
                requirements,
                declared.stall_timeout_s,
            )
            # A result without failure has them all.
            assert trained.checkpoint and trained.artefact and trained.packages
            uri = objects.put_folder(trained.checkpoint, f"checkpoints/{trained.checkpoint_digest}")
            artefact_key = f"artefacts/{trained.artefact_digest}"
            objects.put_folder(trained.artefact, artefact_key)
            run = record(context, tracking, settings, project, run, training, dataset, trained)
        yield dg.MaterializeResult(
            asset_key=key,
            data_version=dg.DataVersion(trained.checkpoint_digest),
            metadata={
                **trained.metrics,
                "workers": requirements.workers,
                **report.metadata(
                    uri=uri,
                    size=size_of(trained.checkpoint),
                    metrics=MetadataValue.json(trained.metrics),
                    reports=training.start_reports + trained.reports,
                    from_checkpoint=config.from_checkpoint or "",
                    mlflow_url=run.url,
                    workers=requirements.workers,
                    **pictures(trained.pictures),
                    **_found(trained.search),
                    dataset_version=dataset.version if dataset else "",
                    dataset_declaration=dataset.declaration_digest if dataset else "",
                    artefact_digest=trained.artefact_digest,
                    artefact_key=artefact_key,
                    mlflow_run_id=run.run_id,
                    recipe=recipe,
                    ran_s=log.ran_s,
                    device=trained.device,
                    resumed_from=trained.resumed_from,
                    first_report_at=MetadataValue.timestamp(trained.first_report_at or 0.0),
                ),
            },
        )
        # Dagster has stored the materialisation now. Until then a retry would read the result from
        # the work directory.
        compute.forget(job)

    return checkpoint


def _dataset(
    context: AssetExecutionContext,
    project: LoadedProject,
    model: str,
    config: TrainingConfig,
    datasets: DatasetStore,
) -> DatasetVersion | None:
    """The version to learn from."""
    name = project.declaration.models[model].dataset
    if name is None:
        return None
    return usable_version(context, project, name, datasets, config.dataset_version)


def ordered(declared: Model, config: TrainingConfig) -> Model:
    """The model as this dagster_run trains it. Raises ValidationError for a search that is none."""
    search = Search.model_validate(config.search) if config.search else None
    return declared.ordered(config.hyperparameters, search if config.searches else False)


def requirements_of(declared: Model, config: TrainingConfig) -> Requirements:
    """What the declared training needs, with what this dagster_run changes about it."""
    return Requirements.of(
        ordered(declared, config),
        workers=config.workers,
        gpus_per_worker=config.gpus_per_worker,
        cpus_per_worker=config.cpus_per_worker,
        gpu_kind=config.gpu_kind,
        memory=config.memory,
    )


def _spec(
    project: LoadedProject,
    model: str,
    config: TrainingConfig,
    requirements: Requirements,
    compute: Compute,
    job: str,
    dataset: DatasetVersion | None,
) -> TrainingSpec:
    """The declared training with what this dagster_run changes about it.

    Raises UnusableHyperparameters for what the trainer does not take.
    """
    declared = ordered(project.declaration.models[model], config)
    hyperparameters, search = declared.hyperparameters, declared.search
    require_hyperparameters(declared.trainer, hyperparameters, project.file, search)
    return TrainingSpec(
        job=job,
        workdir=compute.workdir(job),
        # A request may shorten the declared time, and never extend it.
        timeout_s=min(declared.timeout_s, config.timeout_s or declared.timeout_s),
        project=project.name,
        model=model,
        trainer=declared.trainer,
        python_path=[str(project.file.parent), str(CHECKOUT)],
        hyperparameters=hyperparameters,
        search=search,
        seed=declared.seed if config.seed is None else config.seed,
        # Each trial of a search trains on one.
        workers=1 if search else requirements.workers,
        min_workers=1 if search else requirements.min_workers,
        gpus_per_worker=requirements.gpus_per_worker,
        cpus_per_worker=int(requirements.cpus_per_worker),
        env_vars=requirements.env_vars,
        dataset=_files(dataset) if dataset else None,
        ray_address=compute.ray_address,
        ray_storage=compute.ray_storage(job),
    )


def _from_checkpoint(
    spec: TrainingSpec, config: TrainingConfig, objects: ObjectStore
) -> TrainingSpec:
    """The training, which goes on from the checkpoint where the dagster_run names one.

    Raises ObjectMissing, ArtefactCorrupt, or OSError.
    """
    digest = config.from_checkpoint
    if digest is None:
        return spec
    folder = objects.fetch_folder(f"checkpoints/{digest}", digest)
    return spec.model_copy(update={"start": folder, "start_reports": config.from_reports})


def _train(
    context: AssetExecutionContext,
    log: StepLog,
    compute: Compute,
    objects: ObjectStore,
    tracking: Tracking,
    run: TrackedRun,
    spec: TrainingSpec,
    requirements: Requirements,
    stall_s: float,
) -> TrainingResult:
    followed = MlflowRun(uri=tracking.told_uri, run_id=run.run_id, experiment_id=run.experiment_id)
    try:
        return compute.run(
            "training.main",
            spec.model_copy(update={"tracking": followed}),
            TrainingResult,
            log.progress,
            log.output,
            stall_s,
            requirements,
            driver_of(context),
        )
    except OSError:
        # An outage: the job goes on, and the next attempt of this step follows it.
        raise
    except Exception as error:
        record_failure(context, tracking, run, spec, error)
        raise
    except BaseException:
        # Dagster interrupts a step with a BaseException, which `except Exception` lets pass.
        _keep_what_was_reached(objects, tracking, run, spec)
        raise


def _found(search: SearchResult | None) -> dict[str, MetadataValue]:
    """What a search found, as metadata."""
    if search is None:
        return {}
    table = json.loads(search.table.read_text(encoding="utf-8"))
    return {
        "trials": MetadataValue.int(search.trials),
        "trial_states": MetadataValue.json(search.states),
        "best_trial": MetadataValue.int(search.best),
        f"best_{search.metric}": MetadataValue.float(search.value),
        "chosen": MetadataValue.json(search.values),
        "trials_table": MetadataValue.json(table[:MOST_SHOWN]),
    }


def _keep_what_was_reached(
    objects: ObjectStore, tracking: Tracking, run: TrackedRun, spec: TrainingSpec
) -> None:
    """Store the newest checkpoint of a stopped job, so that another job may start from it."""
    step, uri = 0, None
    if newest := newest_checkpoint(spec.workdir / CHECKPOINTS):
        step, folder = newest
        uri = objects.put_folder(folder, f"checkpoints/{verify(folder)}")
    tracking.stop(run.run_id, uri, step)
    if spec.search:
        tracking.close_trials(run.run_id, "KILLED")


def _files(dataset: DatasetVersion) -> DatasetFiles:
    return DatasetFiles(**dataset.model_dump(include=set(DatasetFiles.model_fields)))
