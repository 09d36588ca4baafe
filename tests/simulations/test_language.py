"""Suites on models that write texts, and task sets on models that name classes."""

import sys

import pytest
from pydantic import ValidationError

from engine.protocol import Refused
from projects.suite import UnusableSuite
from projects.suite_kinds import read_suite

TASKS = [
    {"given": "says the owl", "expected": "hoot soft", "group": "birds"},
    {"given": "says the hen", "expected": "cluck", "group": "birds"},
    {"given": {"question": "what says the cow"}, "expected": "Moo"},
]


def test_held_out_texts_have_a_perplexity_and_a_share_that_is_written(measured, animals):
    found = measured({"kind": "held_out", "measure": ["perplexity", "exact_match"]})

    perplexity = found["perplexity", "held out"]
    assert 1 <= perplexity.low <= perplexity.estimate <= perplexity.high
    metrics = animals[0].metrics
    assert perplexity.estimate == pytest.approx(metrics["test_perplexity"])
    assert found["exact_match", "held out"].estimate == pytest.approx(metrics["test_exact_match"])


def test_texts_with_slips_are_harder_to_go_on_with(measured):
    found = measured({"kind": "text", "cut": [0.5], "typos": [], "padding": [], "lost_words": []})

    assert {metric for metric, _ in found} == {"perplexity"}
    assert found["perplexity", "cut 0.5"].estimate > found["perplexity", "clean"].estimate


@pytest.mark.parametrize(
    ("more", "success"),
    [
        ({}, {"all": 1 / 3, "birds": 1 / 2}),
        ({"right": "contains", "ignore_case": True}, {"all": 2 / 3, "birds": 1 / 2}),
    ],
)
def test_a_task_set_counts_right_answers_by_group(measured, more, success):
    found = measured({"kind": "task_set", "tasks": TASKS, "not_gated": ["birds"], **more})

    assert {name: found["success", name].estimate for name in success} == pytest.approx(success)
    assert found["success", "all"].gated
    assert not found["success", "birds"].gated


def test_a_function_judges_answers(measured, tmp_path):
    (tmp_path / "farm_judge.py").write_text(
        "def has_two_words(given, answer, expected):\n    return len(answer.split()) == 2\n"
        "def broken(given, answer, expected):\n    return answer.nothing\n"
        "def generous(given, answer, expected):\n    return 2\n"
    )
    tasks = [{"given": "says the cat"}, {"given": "says the dog"}]
    suite = {"kind": "task_set", "tasks": tasks, "judge": "farm_judge:has_two_words"}
    folders = {"python_path": [str(tmp_path)]}
    try:
        assert measured(suite, **folders)["success", "all"].estimate == 1
        with pytest.raises(Refused, match=r"farm_judge:broken failed at task 0: AttributeError"):
            measured({**suite, "judge": "farm_judge:broken"}, **folders)
        with pytest.raises(Refused, match="returned 2 for task 0, expected a number from 0"):
            measured({**suite, "judge": "farm_judge:generous"}, **folders)
    finally:
        sys.modules.pop("farm_judge", None)
        sys.path.remove(str(tmp_path))

    read = read_suite(suite)
    assert read.code() == ("farm_judge:has_two_words",)
    digest = read.resolved(tmp_path / "farm.yaml").code_digest
    (tmp_path / "farm_judge.py").write_text(
        "def has_two_words(given, answer, expected): return 1\n"
    )
    assert read.resolved(tmp_path / "farm.yaml").code_digest not in ("", digest)
    (tmp_path / "farm_judge.py").unlink()
    with pytest.raises(UnusableSuite, match="judge: "):
        read.resolved(tmp_path / "farm.yaml")


def test_a_task_that_nobody_can_judge_or_read_is_refused(measured):
    with pytest.raises(ValidationError, match="task 1 has no expected answer"):
        read_suite({"kind": "task_set", "tasks": [TASKS[0], {"given": "says the cat"}]})
    wrong = [TASKS[0], {"given": {"color": "red"}, "expected": "x"}]
    with pytest.raises(Refused, match="row 1 has the unknown column 'color'"):
        measured({"kind": "task_set", "tasks": wrong})
    with pytest.raises(Refused, match="the suite measures 'accuracy', and the model is for text-"):
        measured({"kind": "held_out", "measure": ["accuracy"]})
