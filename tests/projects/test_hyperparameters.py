"""What a trainer declares of its hyperparameters, and what is refused before anything trains."""

import gc
import threading
import time

import pytest

from projects.loading import InvalidProject, load_project
from projects.trainers import (
    UnusableHyperparameters,
    hyperparameter_mistakes,
    require_hyperparameters,
)

DECLARATION = """project: lab
owner: team:lab
models:
  m:
    trainer: {trainer}
    hyperparameters: {values}
"""
DECLARED = {
    "dataclass": """
from dataclasses import dataclass, field
@dataclass
class Hyperparameters:
    depth: int
    rate: float = 0.1
    kind: "Literal['adam', 'sgd']" = "adam"
    layers: list[int] = field(default_factory=list)
def train(config): ...
""",
    "named tuple": """
from typing import Annotated, Literal, NamedTuple
import pydantic
class Hyperparameters(NamedTuple):
    depth: int
    rate: Annotated[float, pydantic.Field(gt=0)] = 0.1
    kind: Literal["adam", "sgd"] = "adam"
    layers: list[int] = []
def train(config): ...
""",
    "pydantic model": """
from typing import Literal, Optional
from pydantic import BaseModel, Field, PositiveFloat
class Base(BaseModel):
    depth: int = Field(..., ge=1, le=100)
    rate: PositiveFloat = 0.1
class Hyperparameters(Base):
    kind: Literal["adam", "sgd"] = "adam"
    layers: Optional[list[int]] = None
def train(config): ...
""",
    "typed dict": """
from typing import Literal, NotRequired, TypedDict
class Hyperparameters(TypedDict):
    depth: int
    rate: NotRequired[float]
    kind: Literal["adam", "sgd"]
    layers: list[int]
def train(config): ...
""",
    "of one function": """
from dataclasses import dataclass
class Hyperparameters:
    other: int
@dataclass
class TrainHyperparameters:
    depth: int
    rate: float = 0.1
    kind: str | None = "adam"
    layers: list[int] | tuple[int, ...] = ()
def train(config): ...
""",
    "of an imported function": "from elsewhere import train",
    "inherited from a module": """
import elsewhere as there
class Hyperparameters(there.Hyperparameters): ...
def train(config): ...
""",
}
ELSEWHERE = DECLARED["pydantic model"]
GOOD = {"depth": 2, "rate": 1, "kind": "sgd", "layers": [1, 2]}


@pytest.fixture
def beside(tmp_path):
    """Writes a trainer, and gives the path of a declaration beside it."""
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)

    def write(source: str):
        (tmp_path / "own_trainer.py").write_text(source)
        return tmp_path / "lab.yaml"

    return write


@pytest.mark.parametrize("source", DECLARED.values(), ids=DECLARED)
def test_declared_hyperparameters_are_judged_without_running_the_trainer(beside, source):
    file = beside(f"raise RuntimeError('this ran')\n{source}")

    def messages(**values):
        result = hyperparameter_mistakes("own_trainer:train", values, file, is_whole=True)
        return {".".join(map(str, where)): message for where, message in result}

    assert messages(**GOOD) == {}
    assert messages(**GOOD, dept=1) == {"dept": "unknown key; did you mean 'depth'?"}
    assert messages(**{**GOOD, "depth": 2.5})["depth"].startswith("got 2.5, expected")
    assert messages(**{**GOOD, "rate": "0.1"})["rate"].startswith("got '0.1', expected")
    missing = {key: value for key, value in GOOD.items() if key != "depth"}
    assert messages(**missing) == {"depth": "missing, but required"}


@pytest.mark.parametrize(
    "source",
    [
        "def train(config): ...",
        "class Hyperparameters(Unknown):\n    depth: int = 1\ndef train(config): ...",
        "from pydantic import BaseModel\nclass Hyperparameters(BaseModel, extra='allow'):\n"
        "    depth: int\ndef train(config): ...",
        "class Hyperparameters:\n    depth: Odd[int]\n    x: 'not a type' = 1\n"
        "    y: dict[a.b] = {}\n"
        "    rate: float\n    kind: str\n    layers: list\ndef train(config): ...",
    ],
)
def test_what_only_running_would_tell_is_not_judged(beside, source):
    values = {"depth": 2, "rate": 0.1, "kind": "adam", "layers": [1]}
    require_hyperparameters("own_trainer:train", values, beside(source))


@pytest.mark.parametrize(
    ("trainer", "values", "path", "message"),
    [
        ("training.vision:train", "{learning_rat: 2e-5}", "learning_rat", "'learning_rate'"),
        ("training.vision:train", "{epochs: 0}", "epochs", "greater than or equal to 1"),
        ("training.hub:train", "{revison: main}", "revison", "'revision'"),
        ("training.control:train", "{iterations: 1.5}", "iterations", "a valid integer"),
    ],
)
def test_a_shipped_trainer_refuses_what_it_does_not_know_with_the_line(
    tmp_path, trainer, values, path, message
):
    file = tmp_path / "lab.yaml"
    file.write_text(DECLARATION.format(trainer=trainer, values=values))
    with pytest.raises(InvalidProject) as refused:
        load_project(file)
    (problem,) = refused.value.problems
    assert (problem.line, problem.path) == (6, f"models.m.hyperparameters.{path}")
    assert message in problem.message


def test_what_a_request_may_still_give_is_missed_only_when_a_job_begins(tmp_path):
    file = tmp_path / "lab.yaml"
    file.write_text(DECLARATION.format(trainer="training.vision:train", values="{epochs: 3}"))
    model = load_project(file).declaration.models["m"]
    with pytest.raises(UnusableHyperparameters, match=r"hyperparameters\.batch_size: missing"):
        require_hyperparameters(model.trainer, model.hyperparameters, file)


@pytest.mark.parametrize("name", ["training", "jobs", "json", "torch"])
def test_a_trainer_named_like_a_module_of_the_engine_is_refused(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("def fit(config): ...")
    file = tmp_path / "lab.yaml"
    file.write_text(DECLARATION.format(trainer=f"{name}:fit", values="{}"))
    with pytest.raises(InvalidProject, match=f"rename the file, for example to lab_{name}.py"):
        load_project(file)


@pytest.mark.parametrize(
    ("model", "suite", "says"),
    [
        ("dataset: d, ", "cartpole_physics.yaml", "expected a control policy"),
        ("", "linf_attack.yaml", "expected one that learns from rows"),
        ("", "image_corruptions.yaml", "expected one that learns from rows"),
        ("hyperparameters: {environment: Acrobot-v1}, ", "cartpole_physics.yaml", "'Acrobot-v1'"),
    ],
)
def test_a_suite_that_does_not_fit_its_model_is_refused(tmp_path, model, suite, says):
    (tmp_path / "own_trainer.py").write_text("def train(config): ...")
    file = tmp_path / "lab.yaml"
    file.write_text(
        "project: lab\nowner: team:lab\n"
        "datasets: {d: {source: 'sklearn:iris', label: target}}\n"
        f"models: {{m: {{{model}trainer: 'own_trainer:train'}}}}\n"
        f"simulations:\n  s: {{model: m, suite: simulations/suites/{suite}}}\n"
    )
    with pytest.raises(InvalidProject) as refused:
        load_project(file)
    (problem,) = refused.value.problems
    assert (problem.line, problem.path) == (6, "simulations.s.suite")
    assert says in problem.message


@pytest.fixture
def collections_that_give_way():
    """The fault of CPython needs one in the middle of a tree, where another thread goes on."""
    before = gc.get_threshold()
    gc.set_threshold(100)
    gc.callbacks.append(_give_way)
    yield
    gc.callbacks.remove(_give_way)
    gc.set_threshold(*before)


def _give_way(*_):
    time.sleep(0.0001)


@pytest.mark.usefixtures("collections_that_give_way")
def test_many_requests_read_trainers_at_once(tmp_path):
    lines = "".join(f"    a{i}: float = {i}.5\n" for i in range(200))
    failed = []

    def read(number: int) -> None:
        file = tmp_path / f"trainer_{number}.py"
        for turn in range(5):
            # Another text each time: what was read is remembered.
            file.write_text(f"class Hyperparameters:\n{lines}x = {turn}\ndef train(config): ...")
            try:
                require_hyperparameters(f"trainer_{number}:train", {}, tmp_path / "lab.yaml")
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {type(error) for error in failed} <= {UnusableHyperparameters}
