"""The dry run as the loop knows it: once for changed code, with the line of the declaration."""

from pathlib import Path

import pytest

from projects.loading import load_project


@pytest.fixture
def rehearsing(settings, monkeypatch):
    monkeypatch.setenv("ORRERY_DRY_RUN", "true")
    return settings.model_copy(update={"dry_run": True})


def log_of(loop) -> str:
    client = loop.tracking._client
    (run, *_) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return Path(client.download_artifacts(run.info.run_id, "training"), "engine.log").read_text()


def test_the_first_training_of_code_is_rehearsed_and_the_next_is_not(rehearsing, loop):
    loop.settings = rehearsing
    assert loop.materialize("dataset", "checkpoint", "model").success
    assert "dry run: " in log_of(loop)
    assert loop.materialize("checkpoint", flowers__checkpoint__classifier={"seed": 2}).success
    assert "dry run: " not in log_of(loop)


def test_a_refusal_names_the_line_of_the_declaration(rehearsing, loop, flowers):
    trainer = flowers / "flowers_training.py"
    source = trainer.read_text()
    assert "Linear(" in source
    trainer.write_text(
        f"{source}\n\nimport torch\n\n\ndef wide(config):\n"
        "    report(torch.nn.Linear(4, 9), {'epoch': 1, 'loss': 1.0})\n"
    )
    file = flowers / "flowers.yaml"
    file.write_text(file.read_text().replace("flowers_training:train", "flowers_training:wide"))
    loop.project, loop.settings = load_project(file), rehearsing
    result = loop.materialize("dataset", "checkpoint")
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "trainer:" in text)
    said = loop.failure_of(result)
    assert f"flowers.yaml:{line}: models.classifier.trainer: " in said
    assert "got outputs of shape" in said and "found by a dry run" in said
