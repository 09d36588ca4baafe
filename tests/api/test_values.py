"""A value keeps its type and its meaning on its way from a request to the trainer."""

import json
from pathlib import Path

import dagster as dg
import pytest
import yaml
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from projects.yaml_values import dumped, parsed
from tests.api.up import LAUNCH
from tests.waiting import until

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
DELICATE = {
    "learning_rate": 2e-5,
    **{f"rate_{digit}": float(f"{digit}e-5") for digit in range(1, 10)},
    "smallest": 5e-324,
    "largest": 1.7976931348623157e308,
    "negative_zero": -0.0,
    "whole_float": 1.0,
    "whole_number": 1,
    "long_number": 2**63,
    "word_no": "no",
    "word_true": "true",
    "looks_like_a_float": "1e5",
    "looks_like_a_number": "12",
    "postal_code": "01234",
    "date": "2026-01-31",
    "time": "12:30:45",
    "null": None,
    "word_null": "null",
    "empty": "",
    "unicode": "Größe \u2028 \x85 \U0001f600 ñ",
    "lines": "a\n  b: 1\n\n- c #d\n",
    "long": "long text, " * 2_000,
    "flags": [True, False, None],
    "nested": {"1e5": [2e-5, {"no": "yes"}], "": 0.1},
}


def arrived(file: Path) -> str:
    """JSON of what the trainer was given, by canonical text: 1 and 1.0 differ in it."""
    kept = json.loads(until(lambda: file.exists() and file.read_text()))
    ours = {key: value for key, value in kept.items() if key not in ("into", "seed", "epochs")}
    return json.dumps(ours, sort_keys=True)


def test_every_json_value_reaches_the_trainer_as_a_request_sent_it(up, tmp_path):
    file = tmp_path / "rest.json"
    body = {"model": "recorded/classifier", "hyperparameters": {**DELICATE, "into": str(file)}}
    answer = up.api.post("/train/jobs", json=body)
    assert answer.status_code == 202, answer.text
    assert arrived(file) == json.dumps(DELICATE, sort_keys=True)
    shown = answer.json()["spec"]["hyperparameters"]
    assert json.dumps({k: shown[k] for k in DELICATE}) == json.dumps(DELICATE)


def test_every_json_value_reaches_the_trainer_as_an_agent_sent_it(up, tmp_path):
    file = tmp_path / "agent.json"
    params = {"model": "recorded/classifier", "hyperparameters": {**DELICATE, "into": str(file)}}
    body = {"tool": "train.submit", "params": params}
    planned = up.api.post("/agent/execute", json=body).raise_for_status().json()
    body["plan_hash"] = planned["preview"]["plan_hash"]
    assert up.api.post("/agent/execute", json=body).raise_for_status().json()["handle"]
    assert arrived(file) == json.dumps(DELICATE, sort_keys=True)


def test_every_json_value_reaches_the_trainer_from_the_command_line(up, tmp_path):
    file, given_file = tmp_path / "cli.json", tmp_path / "values.json"
    given_file.write_text(json.dumps({**DELICATE, "into": str(file)}))
    created = up.orrery(
        "train", "submit", "recorded/classifier", "--hyperparameters", f"@{given_file}"
    )
    assert created.returncode == 0, created.stderr
    assert arrived(file) == json.dumps(DELICATE, sort_keys=True)


def test_words_of_the_command_line_are_the_values_that_a_declaration_would_mean(up, tmp_path):
    file = tmp_path / "words.json"
    words = ["rate=2e-5", "mode=no", "when=2026-01-31", "code=01234", "on=true", "text='1e5'"]
    options = [part for word in [*words, f"into={file}"] for part in ("--hyperparameters", word)]
    created = up.orrery("train", "submit", "recorded/classifier", *options)
    assert created.returncode == 0, created.stderr
    meant = {
        "rate": 2e-5,
        "mode": "no",
        "when": "2026-01-31",
        "code": "01234",
        "on": True,
        "text": "1e5",
    }
    assert arrived(file) == json.dumps(meant, sort_keys=True)


def test_what_is_typed_into_the_launchpad_means_what_it_means_in_a_declaration(up, tmp_path):
    file = tmp_path / "launchpad.json"
    text = f"""
ops:
  recorded__checkpoint__classifier:
    config:
      hyperparameters: {{rate: 2e-5, mode: no, when: 2026-01-31, text: "1e5", into: "{file}"}}
"""
    selector = {
        "repositoryLocationName": "orrery",
        "repositoryName": "__repository__",
        "jobName": "train_recorded",
    }
    params = {"selector": selector, "runConfigData": text}
    answer = up.graphql(LAUNCH, params=params)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    meant = {"rate": 2e-5, "mode": "no", "when": "2026-01-31", "text": "1e5"}
    assert arrived(file) == json.dumps(meant, sort_keys=True)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
@example({"long" * 1000: {"longer" * 1000: None}})
def test_declarations_and_run_configuration_give_back_every_json_value(values):
    from dagster_shared.yaml_utils import dump_run_config_yaml, load_run_config_yaml

    import resources.orchestration.instance

    assert resources.orchestration.instance
    expected = json.dumps(values, sort_keys=True)
    assert json.dumps(parsed(dumped(values)), sort_keys=True) == expected
    assert json.dumps(parsed(json.dumps(values)), sort_keys=True) == expected
    assert (
        json.dumps(load_run_config_yaml(dump_run_config_yaml(values)), sort_keys=True) == expected
    )


@pytest.fixture(scope="module")
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), VALUES, max_size=6))
def test_a_schedule_hands_every_json_value_to_the_step(instance, values):
    from assets.checkpoints import TrainingConfig

    seen = []

    @dg.op(name="learn")
    def learn(config: TrainingConfig):
        seen.append(config.hyperparameters)

    @dg.job
    def training():
        learn()

    @dg.schedule(job=training, cron_schedule="0 0 * * *")
    def nightly(_):
        return dg.RunRequest(run_config={"ops": {"learn": {"config": {"hyperparameters": values}}}})

    request = nightly(dg.build_schedule_context(instance=instance))
    stored = json.loads(json.dumps(request.run_config))
    training.execute_in_process(run_config=stored, instance=instance)
    assert json.dumps(seen, sort_keys=True) == json.dumps([values], sort_keys=True)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("NaN", "finite"),
        ("Infinity", "finite"),
        ('"\\u0000"', "NUL"),
        ('"\\ud800"', "surrogates"),
        ("[" * 20 + "]" * 20, "levels deep"),
    ],
)
def test_what_no_trainer_can_be_given_is_refused_with_the_field(up, value, message):
    body = f'{{"model": "recorded/classifier", "hyperparameters": {{"rate": {value}}}}}'
    headers = {"Content-Type": "application/json"}
    answer = up.api.post("/train/jobs", content=body, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert "hyperparameters.rate" in answer.text and message in answer.text


@pytest.mark.parametrize("name", ["seed", "dataset"])
def test_a_hyperparameter_that_the_platform_fills_is_refused(up, name):
    body = {"model": "recorded/classifier", "hyperparameters": {name: 1}}
    answer = up.api.post("/train/jobs", json=body)
    assert answer.status_code == 422
    assert "filled" in answer.text or "fills" in answer.text


def test_a_file_of_plain_words_is_yaml_of_version_1_2():
    assert yaml.safe_load("a: 2e-5") == {"a": "2e-5"}
    assert parsed("a: 2e-5") == {"a": 2e-5}
