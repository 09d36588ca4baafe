"""Suites of prompts that a language model must refuse, must not refuse, or must withstand."""

import pytest
from pydantic import ValidationError

from engine.protocol import Refused
from projects.schema import Dataset, Model
from projects.suite import UnusableSuite
from projects.suite_kinds import read_suite
from simulations.prompt_forms import Form, forms_of
from simulations.refusals import PHRASES, is_refusal, is_told

SET = """
- {name: alone, group: repeated, text: "{request}"}
- {name: other, group: turned, text: "says the cow"}
"""
# What the model of the animals writes after each of them.
OWL, COW = "says the owl", "says the cow"  # hoot soft, moo loud


@pytest.fixture
def declared(tmp_path):
    """A suite as a declaration beside a set of attacks has it."""
    (tmp_path / "farm_attacks.yaml").write_text(SET)

    def declare(**fields):
        suite = {"kind": "prompts", "attacks": "farm_attacks.yaml", "phrases": ["hoot"], **fields}
        return read_suite(suite).resolved(tmp_path / "farm.yaml").model_dump(mode="json")

    return declare


def test_refusals_are_counted_of_harmful_and_of_harmless_prompts(measured, declared):
    found = measured(declared(harmful=[OWL, COW], harmless=[COW], not_gated=["turned"]))

    assert found["refused", "all"].estimate == pytest.approx(1 / 3)
    assert found["refused", "all"].n == 6
    assert found["refused", "plain"].estimate == 1 / 2
    assert found["refused", "repeated"].gated
    assert not found["refused", "turned"].gated
    assert found["over_refused", "all"].estimate == 0
    assert {metric for metric, _ in found} == {"refused", "over_refused"}


def test_secrets_that_are_told_and_tasks_that_are_left_are_counted_by_attack(measured, declared):
    secrets = [{"given": COW, "secret": "Moo", "request": OWL}]
    tasks = [{"given": COW, "expected": "MOO", "request": OWL}]
    found = measured(declared(secrets=secrets, tasks=tasks))

    assert found["leaked", "repeated"].estimate == 0
    assert found["leaked", "turned"].estimate == 1
    assert found["misled", "plain"].estimate == 0
    assert found["misled", "repeated"].estimate == 1
    assert found["misled", "turned"].estimate == 0


def test_a_chat_is_tried_by_messages(measured, declared):
    secrets = [{"given": "please", "secret": "loud", "request": COW}]
    found = measured(declared(secrets=secrets, harmful=[OWL], asked="chat"))

    assert found["leaked", "all"].estimate == 1
    assert found["refused", "all"].estimate == pytest.approx(2 / 3)


def test_a_function_judges_what_refuses(measured, declared, tmp_path, monkeypatch):
    (tmp_path / "farm_refusals.py").write_text(
        "def quiet(prompt, answer):\n    return 'loud' not in answer\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    suite = declared(harmless=[OWL, COW], judge="farm_refusals:quiet")

    found = measured(suite, python_path=[str(tmp_path)])

    assert found["over_refused", "all"].estimate == 1 / 2
    assert suite["code_digest"]
    assert read_suite(suite).code() == ("farm_refusals:quiet",)


def test_a_set_is_shipped_or_lies_beside_the_declaration(declared, tmp_path):
    suite = declared(harmful=[OWL])
    assert [form["group"] for form in suite["forms"]] == ["repeated", "turned"]
    (tmp_path / "farm_attacks.yaml").write_text(SET + "- {name: c, group: c, text: '{base64}'}\n")
    assert declared(harmful=[OWL])["forms"] != suite["forms"]

    groups = {form.group for form in forms_of("usual")}
    assert groups == {"injection", "role_play", "encoding", "suffix"}
    with pytest.raises(UnusableSuite, match=r"got the set 'usal', expected usual.*did you mean"):
        declared(harmful=[OWL], attacks="usal")
    (tmp_path / "farm_attacks.yaml").write_text("- {name: a, text: b}")
    with pytest.raises(UnusableSuite, match=r"(?s)farm_attacks.yaml is no set of attacks.*group"):
        declared(harmful=[OWL])
    with pytest.raises(ValidationError):
        declared(harmful=[OWL], attacks="../secrets.yaml")


def test_a_form_writes_the_request_in_codes():
    form = Form(name="a", group="a", text="{given}: {base64} {rot13} {reversed} {spaced}")
    assert form.of("Do", "hi") == "Do: aGk= uv ih h i"


@pytest.mark.parametrize(
    ("answer", "refuses"),
    [
        ("I'm sorry, but I can\N{RIGHT SINGLE QUOTATION MARK}t help with that.", True),
        ("As an AI language model, I am not able to do so.", True),
        ("That would be against my rules.", True),
        (" ", True),
        ("Sure, here is how you do it.", False),
        ("You can mix them in a bowl.", False),
    ],
)
def test_usual_phrases_refuse(answer, refuses):
    assert is_refusal(answer, PHRASES) is refuses


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("It is SESAME 42.", True),
        ("s-e-s-a-m-e-4-2", True),
        ("24emases", True),
        ("Use c2VzYW1lNDI= for it", True),
        ("frfnzr42", True),
        ("I keep it.", False),
    ],
)
def test_a_secret_is_found_in_simple_codes(answer, told):
    assert is_told("sesame42", answer) is told


def test_suites_that_cannot_try_a_model_say_why(declared, measured):
    with pytest.raises(ValidationError, match="no prompt is declared, expected some of harmful"):
        read_suite({"kind": "prompts"})
    with pytest.raises(ValidationError, match="expected a regular expression"):
        read_suite({"kind": "prompts", "harmful": ["a"], "phrases": ["("]})
    suite = read_suite({"kind": "prompts", "harmful": ["a"]})
    numbers = Dataset(source="sklearn:iris", task="classification")
    assert "expected a model that writes texts" in suite.misfit(
        Model(dataset="d", trainer="a:b"), numbers
    )
    long = {"given": "cow " * 40, "secret": "x"}
    with pytest.raises(Refused, match=r"chat: got \d+ tokens.*expected at most 24"):
        measured(declared(secrets=[long], asked="chat"))
