"""Episodes are played in any environment, and what is wrong with one is said."""

import importlib
import threading

import gymnasium
import numpy as np
import pytest
from pydantic import ValidationError

from engine.protocol import Refused
from projects.suite import UnusableSuite
from simulations.evidence import suite_digest
from simulations.kinds.episodes import Episodes, measure, scenarios_of
from simulations.subject import Subject
from simulations.trials import Trials
from tests.simulations.conftest import linear_artefact

WALK = '''
import gymnasium, numpy as np
from gymnasium import spaces

class Walk(gymnasium.Env):
    """A point on a line that is pushed, and is lost beyond an edge."""
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)
    wind = 0.0

    def __init__(self, mass=2, edge=3.0, mode="plain", bad="", at=3, hang=None):
        self.mass, self.edge, self.bad, self.at, self.hang = mass, edge, bad, at, hang
        self.weight = 10.0 * mass
        self.floor = type("Floor", (), {"friction": 0.5, "slope": np.array([0.0, 2.0])})()
        self.name = mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = self.np_random.uniform(-1, 1), 0
        if self.bad == "reset":
            return self._seen()
        return self._seen(), {}

    def step(self, action):
        self.steps += 1
        push = float(np.clip(action, -1, 1)[0])
        self.place += (push + self.wind) / self.mass
        is_lost = abs(self.place) > self.edge
        answer = [self._seen(), -abs(self.place), is_lost, False, {"cost": push**2}]
        if self.steps == self.at and self.bad:
            self._break(answer)
        return tuple(answer)

    def _seen(self):
        return np.array([self.place, self.floor.friction], np.float32)

    def _break(self, answer):
        if self.bad == "raises":
            raise ZeroDivisionError("the walk met a wall")
        if self.bad == "hangs":
            import hanging
            hanging.EVENT.wait()
        if self.bad == "four":
            answer.pop()
        for kind, place, value in (
            ("nan", 0, np.array([np.nan, 0.0])), ("shape", 0, np.zeros(3)), ("reward", 1, np.inf),
            ("rewards", 1, np.zeros(2)), ("info", 4, None), ("words", 0, "here"),
        ):
            if self.bad == kind:
                answer[place] = value

def make(**arguments):
    return gymnasium.wrappers.TimeLimit(Walk(**arguments), 40)

def steps(start=0):
    environment = Walk()
    environment.action_space = spaces.Discrete(2, start=start)
    environment.step = lambda action: Walk.step(environment, np.array([2 * (action - start) - 1]))
    return environment

def told():
    """Observed as a dictionary."""
    environment = Walk()
    parts = {"a": spaces.Discrete(2), "b": spaces.Box(0, 1, (1,))}
    environment.observation_space = spaces.Dict(parts)
    environment._seen = lambda: {"a": 1, "b": np.array([0.5], np.float32)}
    return environment

def heavier(environment):
    environment.weight = 10.0 * environment.mass
    environment.derived = True

def nothing():
    return 7

gymnasium.register("Walk-v3", Walk, max_episode_steps=25)
'''


@pytest.fixture
def walk(tmp_path, monkeypatch):
    """Name of a new module with environments."""
    name = f"walk_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(WALK)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield name
    gymnasium.registry.pop("Walk-v3", None)


@pytest.fixture(scope="session")
def centring(tmp_path_factory):
    """Pushes the point towards 0, with values."""
    folder = tmp_path_factory.mktemp("centring") / "artefact"
    weights = np.array([[-1.0], [0.0]])
    return Subject(*linear_artefact(folder, weights, "control", actions="values"))


@pytest.fixture(scope="session")
def stepping(tmp_path_factory):
    """Scores the step towards 0 higher."""
    folder = tmp_path_factory.mktemp("stepping") / "artefact"
    return Subject(*linear_artefact(folder, np.array([[1.0, -1.0], [0.0, 0.0]]), "control"))


def suite(environment, vary=None, **changes):
    declared = {"episodes": 3, "seeds": [0, 1], "horizon": 20, "vary": vary or {}} | changes
    return Episodes(kind="episodes", environment=environment, **declared)


def played(declared, subject):
    """Values [scenarios, episodes of all seeds] by metric."""
    outcomes = measure(declared, subject)
    names = [scenario.name for scenario in outcomes[0].scenarios]
    return names, {o.metric: o.values.reshape(len(names), -1) for o in outcomes}


def by_hand(environment, act, seeds, horizon):
    """Return and length of an episode for each seed of a reset."""
    ended = []
    for seed in seeds:
        observed, _ = environment.reset(seed=seed)
        gained = 0.0
        terminated, steps = False, 0
        while not terminated and steps < horizon:
            observed, reward, terminated, _, _ = environment.step(act(observed))
            gained, steps = gained + reward, steps + 1
        ended.append((gained, steps))
    return ended


def reset_seeds(seeds, episodes):
    return [
        int(np.random.SeedSequence((seed, e)).generate_state(1)[0])
        for seed in seeds
        for e in range(episodes)
    ]


def test_episodes_are_those_of_the_environment_played_one_by_one(walk, centring):
    module = importlib.import_module(walk)
    declared = suite(f"{walk}:Walk", {"edge": [0.5]}, at_once=2)

    names, values = played(declared, centring)

    for place, edge in enumerate((3.0, 1.5)):
        expected = by_hand(
            module.Walk(edge=edge), lambda seen: -seen[:1], reset_seeds([0, 1], 3), 20
        )
        assert values["return"][place] == pytest.approx([gained for gained, _ in expected])
    assert names == ["nominal", "edge 0.5"]
    assert values["survival"].min() == 1
    assert values["cost"].min() > 0


def test_discrete_actions_begin_where_the_space_does(walk, stepping):
    names, values = played(suite(f"{walk}:steps", arguments={"start": 5}), stepping)

    assert names == ["nominal"]
    assert values["survival"].min() == 1


def test_a_gymnasium_environment_is_played_as_it_is(tmp_path):
    swing = np.array([[0.0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [-1, 0, 1]])
    subject = Subject(*linear_artefact(tmp_path / "swing", swing, "control"))

    declared = suite("Acrobot-v1", {"LINK_MASS_1": [1.2]}, success="terminated", horizon=None)
    _, values = played(declared, subject)

    expected = by_hand(
        gymnasium.make("Acrobot-v1").unwrapped,
        lambda seen: int((seen @ swing).argmax()),
        reset_seeds([0, 1], 3),
        500,
    )
    assert values["return"][0].tolist() == [gained for gained, _ in expected]
    assert values["success"][0].tolist() == [float(steps < 500) for _, steps in expected]
    assert np.array_equal(values["survival"], 1 - values["success"])
    assert not np.array_equal(values["return"][0], values["return"][1])


@pytest.mark.parametrize(
    ("vary", "attribute", "value"),
    [
        ({"mass": [1.5]}, "weight", 30.0),  # by the constructor, which derives from it
        ({"mass": [1.5]}, "mass", 3),
        ({"weight": [0.5]}, "weight", 10.0),
        ({"wind": [0.25]}, "wind", 0.25),
        ({"floor.friction": [3]}, "floor.friction", 1.5),
    ],
)
def test_levels_are_multiples_of_nominal_values_and_values_where_those_are_0(
    walk, vary, attribute, value
):
    from simulations.environments import VariedEnvironment

    varied = VariedEnvironment(f"{walk}:Walk", {})
    varied.probe(list(vary))
    made = varied.make({name: levels[0] for name, levels in vary.items()})

    got = made
    for part in attribute.split("."):
        got = getattr(got, part)
    assert got == value
    assert type(got) is type(value)


def test_arrays_are_multiplied_and_leave_other_environments_alone(walk):
    from simulations.environments import VariedEnvironment

    varied = VariedEnvironment(f"{walk}:Walk", {})
    nominal = varied.probe(["floor.slope"])
    made = varied.make({"floor.slope": 2.0})

    assert made.floor.slope.tolist() == [0.0, 4.0]
    assert nominal.floor.slope.tolist() == [0.0, 2.0]


def test_attributes_are_derived_by_a_function_of_the_project(walk):
    from simulations.environments import VariedEnvironment

    varied = VariedEnvironment(f"{walk}:Walk", {}, f"{walk}:heavier")
    varied.probe(["wind"])

    assert varied.make({"wind": 1.0}).derived is True


def test_cartpole_derives_its_masses_from_what_is_varied():
    from simulations.environments import VariedEnvironment

    varied = VariedEnvironment("CartPole-v1", {})
    varied.probe(["masscart", "pole_length"])
    made = varied.make({"masscart": 2.0, "pole_length": 3.0})

    assert made.unwrapped.total_mass == pytest.approx(2.1)
    assert made.unwrapped.polemass_length == pytest.approx(0.15)


def test_cartpole_that_cannot_be_vectorised_is_played_all_the_same(policy):
    declared = suite("CartPole-v1", {"masscart": [2.0]}, horizon=60)

    _, values = played(declared, policy)

    assert values["return"].shape == (2, 6)
    assert values["survival"].min() == 1


def test_the_nominal_level_of_a_value_is_0(walk):
    declared = suite(f"{walk}:Walk", {"wind": [0.0, 0.2, 1.0], "edge": [1.0, 2.0]})

    scenarios = scenarios_of(declared, zeros={"wind"})

    assert [s.name for s in scenarios] == ["nominal", "wind 0.2", "wind 1", "edge 2"]


@pytest.mark.parametrize("noise", ["sensor_noise", "action_noise"])
def test_noise_is_drawn_by_seed_and_episode(walk, centring, noise):
    declared = suite(f"{walk}:Walk", {noise: [0.5]})

    _, one = played(declared, centring)
    _, other = played(declared.model_copy(update={"at_once": 1}), centring)

    assert one["return"].tobytes() == other["return"].tobytes()
    assert not np.array_equal(one["return"][0], one["return"][1])
    assert len(set(one["return"][1])) == 6


def test_action_noise_draws_a_share_of_discrete_actions(walk, stepping):
    _, values = played(suite(f"{walk}:steps", {"action_noise": [1.0]}, horizon=200), stepping)

    assert values["survival"].mean(axis=1).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("environment", "horizon"),
    [("{}:make", 40), ("{}:Walk-v3", 25), ("{}:Walk", 500)],
)
def test_an_episode_lasts_as_long_as_the_environment_lets_it(walk, centring, environment, horizon):
    (survival, *_) = measure(suite(environment.format(walk), horizon=None), centring)

    assert survival.evaluations == 6 * horizon


def test_success_is_a_share_of_episodes_within_declared_bounds(walk, centring):
    declared = suite(f"{walk}:Walk", success={"return": {"at_least": -0.5}})

    _, values = played(declared, centring)

    assert np.array_equal(values["success"], values["return"] >= -0.5)
    assert 0 < values["success"].mean() < 1
    assert declared.metrics() == ("survival", "return", "success", "cost")


def test_what_is_observed_as_several_parts_is_a_row(walk, tmp_path):
    weights = np.ones((3, 1))
    subject = Subject(*linear_artefact(tmp_path / "p", weights, "control", actions="values"))

    _, values = played(suite(f"{walk}:told"), subject)

    assert np.isfinite(values["return"]).all()


def test_a_resumed_suite_does_not_play_a_scenario_again(walk, centring, tmp_path, monkeypatch):
    declared = suite(f"{walk}:Walk", {"wind": [0.1, 0.2]})
    whole = measure(declared, centring, lambda total: closing_trials(tmp_path, total))

    monkeypatch.setattr("simulations.playing.play", lambda *_: pytest.fail("played again"))
    again = measure(declared, centring, lambda total: closing_trials(tmp_path, total))

    assert [a.values.tobytes() for a in again] == [w.values.tobytes() for w in whole]


def closing_trials(workdir, total):
    from contextlib import closing

    return closing(Trials(workdir, total, "m s"))


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ("raises", r"raised ZeroDivisionError: the walk met a wall, in step 3 of episode 0 of"),
        ("nan", r"was observed as nan, expected finite numbers, in step 3"),
        ("shape", r"was observed in the shape \(3,\), expected \(2,\) .*in step 3"),
        ("words", r"was observed as 'here', expected a part of Box"),
        ("reward", r"gave the reward inf, expected a finite number, in step 3"),
        ("rewards", r"gave the reward array\(.*expected one finite number, in step 3"),
        ("four", r"returned a tuple of 4, expected \(observation, reward, terminated"),
        ("info", r"returned the info None, expected .* with a dict of info, in step 3"),
        ("reset", r"returned a ndarray, expected \(observation, info\).* in the reset of episode"),
    ],
)
def test_an_environment_that_breaks_is_refused_with_the_place(walk, centring, bad, sentence):
    declared = suite(f"{walk}:Walk", {"wind": [0.1]}, arguments={"bad": bad})

    with pytest.raises(Refused, match=f"{walk}:Walk' {sentence}"):
        measure(declared, centring)


def test_an_environment_that_hangs_is_refused_with_the_step(walk, centring, tmp_path):
    (tmp_path / "hanging.py").write_text("import threading\nEVENT = threading.Event()\n")
    declared = suite(
        f"{walk}:Walk", arguments={"bad": "hangs", "at": 7}, at_once=1, step_timeout_s=0.3
    )

    try:
        with pytest.raises(
            Refused, match=r"did not come back within 0\.3 s from step 7 of episode 0 of seed 0"
        ):
            measure(declared, centring)
    finally:
        importlib.import_module("hanging").EVENT.set()


def test_many_steps_may_take_longer_than_one(walk, centring, monkeypatch):
    module = importlib.import_module(walk)
    step = module.Walk.step
    tick = threading.Event()
    monkeypatch.setattr(module.Walk, "step", lambda *given: (tick.wait(0.03), step(*given))[1])

    _, values = played(suite(f"{walk}:Walk", step_timeout_s=0.15, horizon=2), centring)

    assert values["return"].shape == (1, 6)


@pytest.mark.parametrize(
    ("environment", "changes", "sentence"),
    [
        ("Acrobat-v1", {}, "no environment 'Acrobat-v1'; did you mean 'Acrobot-v1'"),
        ("nowhere_at_all:make", {}, "cannot be imported: got ModuleNotFoundError"),
        ("{}:Wolk", {}, "has no function 'Wolk'.*did you mean 'Walk'"),
        ("{}:nothing", {}, "gave a int, expected a gymnasium.Env"),
        ("{}:Walk", {"arguments": {"colour": 1}}, "cannot be made with .*argument 'colour'"),
        ("{}:Walk", {"vary": {"windy": [1]}}, "no attribute 'windy'.*did you mean 'wind'"),
        ("{}:Walk", {"vary": {"floor.frictoin": [1]}}, "no attribute 'frictoin'.*'friction'"),
        ("{}:Walk", {"vary": {"name": [1]}}, "'name' of .* is 'plain', expected a number"),
        ("{}:Walk", {"vary": {"mode": [1]}}, "argument 'mode' of .* has no number as its default"),
        ("{}:Walk", {"derive": "nowhere_at_all:f"}, "`derive` cannot be imported"),
        ("{}:Walk", {"derive": "math:sqrt"}, "cannot be brought to .*TypeError"),
        ("{}:steps", {}, r"acted on by Discrete\(2\), and the policy gives 1 values, expected 2 s"),
        ("CartPole-v1", {}, r"observed in the shape \(4,\).*the policy takes \(2,\)"),
        ("MountainCar-v0", {}, r"acted on by Discrete\(3\)"),
        ("FrozenLake-v1", {}, r"observed in the shape \(16,\) \(Discrete\(16\)\)"),
    ],
)
def test_a_suite_that_does_not_fit_is_refused(walk, centring, environment, changes, sentence):
    declared = suite(environment.format(walk), **changes)

    with pytest.raises(Refused, match=sentence):
        measure(declared, centring)


def test_success_by_a_cost_that_nobody_tells_is_refused(policy):
    declared = suite("CartPole-v1", success={"cost": {"at_most": 1.0}})

    with pytest.raises(Refused, match="no info of 'CartPole-v1' had the key 'cost'"):
        measure(declared, policy)


def test_a_suite_names_the_code_that_it_runs():
    assert suite("Acrobot-v1").code() == ()
    assert suite("mine:make", derive="mine:derive").code() == ("mine:make", "mine:derive")


def test_changed_code_of_an_environment_makes_another_suite(tmp_path):
    declaration, code = tmp_path / "project.yaml", tmp_path / "own_walk.py"
    declared = suite("own_walk:make")
    digests = []

    for text in ("def make(): pass", "def make(): pass", "def make(): return 1"):
        code.write_text(text)
        digests.append(suite_digest(declared.resolved(declaration).model_dump(mode="json")))

    assert digests[0] == digests[1] != digests[2]
    assert suite("Acrobot-v1").resolved(declaration) == suite("Acrobot-v1")


def test_a_module_that_is_not_there_is_found_before_anything_runs(tmp_path):
    with pytest.raises(UnusableSuite, match=r"no module 'own_wolk' beside project\.yaml"):
        suite("own_wolk:make").resolved(tmp_path / "project.yaml")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"vary": {"gravty": [1]}}, "did you mean 'gravity'"),
        ({"vary": {"sensor_noise": [-1.0]}}, "none below 0"),
        ({"pairs": [("gravity", "tau")]}, "which `vary` lacks"),
        ({"success": {"return": {}}}, "at_least, at_most, or both"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused_before_anything_runs(changes, sentence):
    with pytest.raises(ValidationError, match=sentence):
        suite("CartPole-v1", **changes)


def test_fields_that_are_not_declared_leave_the_suite_as_it_was():
    declared = suite("CartPole-v1", {"gravity": [0.5]})

    assert declared.model_dump(mode="json").keys() == {
        *("kind", "seeds", "confidence", "environment", "vary", "pairs", "gated_within"),
        *("gated_noise_up_to", "episodes", "horizon"),
    }
