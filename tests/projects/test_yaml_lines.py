"""YAML as declarations are written in it: what is a word, what is a number, what is refused."""

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projects.loading import InvalidProject, load_project
from projects.yaml_lines import UnreadableYaml, read_yaml

REFUSED = {
    "empty": (b"", "the file is empty"),
    "only a comment": (b"# nothing\n", "the file is empty"),
    "not UTF-8": (b"project: \xff\n", "cannot be read as UTF-8 text"),
    "not YAML": (b"project: [\n", "not YAML"),
    "two documents": (b"a: 1\n---\nb: 2\n", "not YAML"),
    "repeated key": (b"project: a\nproject: b\n", "key 'project' is given twice"),
    "repeated nested key": (b"a:\n  b: 1\n  b: 2\n", "key 'b' is given twice"),
    "alias": (b"a: &x 1\nb: *x\n", "aliases (*name) are not accepted"),
    "bomb": (
        b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n",
        "aliases (*name) are not accepted",
    ),
    "nested too deeply": (b"[" * 5000, "nested too deeply"),
    "larger than a megabyte": (b"#" * 1_000_001, "larger than 1000000 bytes"),
    "Python object": (b"a: !!python/object/apply:os.system [ls]\n", "not YAML"),
}
HOSTILE = {
    "control character": "a\x00b",
    "list as key": "? [a]\n: b",
    "mapping as key": "? {a: b}\n: c",
    "impossible date": "project: 2024-99-99",
    "binary number without digits": "project: 0b_",
    "hexadecimal number without digits": "project: 0x_",
    "number of too many digits": f"project: {'9' * 5000}",
    "empty integer": "project: !!int ''",
    "word tagged as float": "project: !!float word",
    "word tagged as timestamp": "project: !!timestamp word",
    "word tagged as boolean": "project: !!bool word",
}
PIECES = st.sampled_from(["{", "}", "[", "]", "? ", ": ", "- ", "\n", "\n  ", "&a ", "*a", "<<: "])
TOKENS = (
    PIECES
    | st.sampled_from(["project: ", "owner: ", "models: ", "!!int ", "!!set ", "!!binary ", "a"])
    | st.sampled_from(
        ["0x", "_", "1e-3", "2024-01-", "~", "'", '"', "|\n", "%", "@", "#", "9", "\t"]
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FAMILIES = ("project", "owner", "datasets", "models", "simulations", "services", "automation")
property_based = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def load(folder, text):
    """Loads the text as a declaration; an invalid one is an answer, anything else is raised."""
    file = folder / "arbitrary.yaml"
    file.write_text(text, encoding="utf-8", newline="")
    try:
        load_project(file)
    except InvalidProject as error:
        assert error.problems
        assert all(problem.file == file for problem in error.problems)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("1e-3", 1e-3),
        ("2.5E4", 25000.0),
        ("-1.0e-3", -1e-3),
        ("12", 12),
        ("1e", "1e"),
        ("~", None),
    ],
)
def test_words_and_numbers_are_those_of_yaml_1_2(text, value, tmp_path):
    file = tmp_path / "file.yaml"
    file.write_text(f"key: {text}\n")

    read, _ = read_yaml(file)

    assert read == {"key": value}
    assert type(read["key"]) is type(value)


def test_on_as_a_key_stays_a_word(tmp_path):
    file = tmp_path / "file.yaml"
    file.write_text("retrain: {on: [new_data]}\n")

    read, _ = read_yaml(file)

    assert read == {"retrain": {"on": ["new_data"]}}


def test_every_location_has_its_line(tmp_path):
    file = tmp_path / "file.yaml"
    file.write_text("a:\n  b:\n  - 1\n  - c: 2\n")

    _, lines = read_yaml(file)

    assert lines[("a", "b")] == 2
    assert lines[("a", "b", 1, "c")] == 4


@pytest.mark.parametrize("case", REFUSED)
def test_unreadable_yaml_says_why(case, tmp_path):
    content, message = REFUSED[case]
    file = tmp_path / "file.yaml"
    file.write_bytes(content)

    with pytest.raises(UnreadableYaml) as raised:
        read_yaml(file)

    assert message in str(raised.value)


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_yaml_is_an_invalid_project(case, problems_of):
    problems = problems_of(HOSTILE[case])

    assert problems[0].line == 1


@property_based
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_arbitrary_text_loads_or_is_an_invalid_project(tmp_path, text):
    load(tmp_path, text)


@property_based
@given(st.lists(TOKENS, max_size=14))
def test_arbitrary_yaml_loads_or_is_an_invalid_project(tmp_path, tokens):
    load(tmp_path, "".join(tokens))


@property_based
@given(st.dictionaries(st.sampled_from(FAMILIES), VALUES, max_size=4))
def test_arbitrary_values_load_or_are_an_invalid_project(tmp_path, values):
    load(tmp_path, yaml.safe_dump(values, allow_unicode=True))


@property_based
@given(st.integers(0, 400), st.integers(0, 20), st.lists(TOKENS, max_size=3))
def test_damaged_declaration_loads_or_is_an_invalid_project(
    tmp_path, declaration, start, length, tokens
):
    damaged = declaration[:start] + "".join(tokens) + declaration[start + length :]

    load(tmp_path, damaged)
