"""New files in a watched folder or bucket prefix start the next turn, once."""

import hashlib
import json

import dagster as dg

from assets.keys import op_name
from jobs.project_jobs import job_name
from projects.loading import LoadedProject
from resources.datasets.sources import SourceUnreachable, SourceUnreadable, watched_files

INTERVAL_S = 15


def build_new_data_sensors(project: LoadedProject) -> list[dg.SensorDefinition]:
    """One sensor per watched dataset, where new data is declared to retrain."""
    if "new_data" not in project.declaration.automation.retrain.on:
        return []
    watched = [name for name, d in project.declaration.datasets.items() if d.watched]
    return [_sensor(project, name) for name in watched]


def _sensor(project: LoadedProject, name: str) -> dg.SensorDefinition:
    job = job_name("turn", project.name)
    dataset = project.declaration.datasets[name]

    @dg.sensor(
        name=op_name(f"on_new_data_{project.name}_{name}"),
        job_name=job,
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Starts `{job}` once when files appear or change in `{dataset.watched}`. "
        "What was there when the sensor first looked is taken as known; a file that still grows "
        "is waited for.",
    )
    def on_new_data(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            files = watched_files(dataset, project.base)
        except (SourceUnreachable, SourceUnreadable) as error:
            return dg.SkipReason(str(error))
        cursor = json.loads(context.cursor) if context.cursor else None
        decision = decide(files, cursor)
        if not decision.fresh:
            return dg.SensorResult(skip_reason=decision.reason, cursor=json.dumps(decision.cursor))
        # Dagster starts one dagster_run for a run_key, even if a crash loses the new cursor.
        key = hashlib.sha256(json.dumps(sorted(decision.fresh.items())).encode()).hexdigest()
        request = dg.RunRequest(
            run_key=key, tags={"trigger": "new_data", "orrery/files": str(len(decision.fresh))}
        )
        return dg.SensorResult(run_requests=[request], cursor=json.dumps(decision.cursor))

    return on_new_data


class Decision:
    """What one look at the folder means."""

    def __init__(
        self, fresh: dict[str, str], cursor: dict[str, dict[str, str]], reason: str
    ) -> None:
        self.fresh, self.cursor, self.reason = fresh, cursor, reason


def decide(files: dict[str, str], cursor: dict[str, dict[str, str]] | None) -> Decision:
    """Files that are new and stood still since the last look, and the cursor to keep.

    The cursor holds the files already acted on (`known`) and those seen once (`seen`).
    """
    if cursor is None:
        return Decision({}, {"known": files, "seen": files}, f"{len(files)} files are known now")
    known, seen = cursor["known"], cursor["seen"]
    changed = {path: tag for path, tag in files.items() if known.get(path) != tag}
    still = {path: tag for path, tag in changed.items() if seen.get(path) == tag}
    if changed and len(still) < len(changed):
        reason = f"{len(changed)} new files are still being written"
        return Decision({}, {"known": known, "seen": files}, reason)
    return Decision(still, {"known": {**known, **still}, "seen": files}, "no new file")
