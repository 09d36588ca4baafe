"""How long a project keeps what it makes, as its declaration says."""

from projects.loading import load_project
from projects.schema import Kept, KeptCheckpoints, Retention

DECLARED = """
retention:
  runs: {keep_days: 90, keep_newest: 100}
  logs: {keep_days: 14}
  checkpoints: {keep_newest: 3, keep_best: 1, metric: test_rmse, lower_is_better: true}
  versions: {keep_newest: 10}
"""


def test_every_part_of_a_retention_is_read(project_file, declaration):
    project_file.write_text(declaration + DECLARED)
    assert load_project(project_file).declaration.retention == Retention(
        runs=Kept(keep_days=90, keep_newest=100),
        logs=Kept(keep_days=14),
        checkpoints=KeptCheckpoints(
            keep_newest=3, keep_best=1, metric="test_rmse", lower_is_better=True
        ),
        versions=Kept(keep_newest=10),
    )


def test_without_one_nothing_is_bounded(project_file):
    retention = load_project(project_file).declaration.retention
    parts = (retention.runs, retention.logs, retention.checkpoints, retention.versions)
    assert not any(part.is_bounded for part in parts)


def test_a_misspelt_key_is_named_with_the_nearest(problems_of, declaration):
    (problem,) = problems_of(f"{declaration}\nretention: {{runs: {{keep_day: 3}}}}\n")
    assert problem.path == "retention.runs.keep_day"
    assert "keep_days" in problem.message


def test_the_best_need_a_metric(problems_of, declaration):
    (problem,) = problems_of(f"{declaration}\nretention: {{checkpoints: {{keep_best: 3}}}}\n")
    assert "metric" in problem.message
