"""What a declaration must be, and what its author is told when it is not."""

import sys

import pytest

from projects.loading import CHECKOUT, InvalidProject, load_project, load_projects

# What is replaced, by what, and the problem's line, path and message.
MISTAKES = {
    "unknown key": (
        "label: species",
        "lable: species",
        6,
        "datasets.songs.lable",
        "did you mean 'label'?",
    ),
    "unknown family": ("services:", "servces:", 16, "servces", "did you mean 'services'?"),
    "unknown nested key": (
        "at_least: 0.5",
        "at_lest: 0.5",
        15,
        "simulations.storms.gate.accuracy.at_lest",
        "did you mean 'at_least'?",
    ),
    "wrong type": (
        "dataset: songs",
        "dataset: [songs]",
        10,
        "models.singer.dataset",
        "got ['songs'], expected: a valid string",
    ),
    "missing key": ("owner: team:ornithology\n", "", 1, "owner", "missing, but required"),
    "missing nested key": (
        "    model: singer\n    suite",
        "    suite",
        12,
        "simulations.storms.model",
        "missing, but required",
    ),
    "illegal name": ("  songs:", "  Songs:", 4, "datasets.Songs", "got 'Songs', expected"),
    "illegal source": (
        "files:songs.csv",
        "file:songs.csv",
        5,
        "datasets.songs.source",
        "got 'file:songs.csv', expected",
    ),
    "missing suite file": (
        "suite: storms.yaml",
        "suite: simulations/suites/image_corruption.yaml",
        14,
        "simulations.storms.suite",
        "did you mean 'simulations/suites/image_corruptions.yaml'?",
    ),
    "suite name too long": (
        "suite: storms.yaml",
        f"suite: {'s' * 300}.yaml",
        14,
        "simulations.storms.suite",
        "no such suite file",
    ),
    "unknown trainer module": (
        "birdsong:train",
        "birdsnog:train",
        9,
        "models.singer.trainer",
        "no module 'birdsnog' beside birds.yaml or in the environment",
    ),
    "unknown trainer function": (
        "birdsong:train",
        "birdsong:trian",
        9,
        "models.singer.trainer",
        "did you mean 'train'?",
    ),
    "metric the suite does not measure": (
        "gate: {accuracy",
        "gate: {acuracy",
        15,
        "simulations.storms.gate.acuracy",
        "did you mean 'accuracy'?",
    ),
    "criterion without a bound": (
        "{at_least: 0.5}",
        "{of: mean}",
        15,
        "simulations.storms.gate.accuracy",
        "expected exactly one of at_least and at_most",
    ),
    "undeclared dataset": (
        "dataset: songs",
        "dataset: song",
        10,
        "models.singer.dataset",
        "got 'song', expected a declared dataset; did you mean 'songs'?",
    ),
    "undeclared model of a simulation": (
        "model: singer\n    suite",
        "model: signer\n    suite",
        13,
        "simulations.storms.model",
        "got 'signer', expected a declared model; did you mean 'singer'?",
    ),
    "unknown word for reading": (
        "label: species",
        "label: species\n    read: {nul: [NA]}",
        7,
        "datasets.songs.read.nul",
        "did you mean 'nulls'?",
    ),
    "unknown type of a column": (
        "label: species",
        "label: species\n    read: {types: {wing: float}}",
        7,
        "datasets.songs.read.types.wing",
        "got 'float', expected: 'number', 'integer', 'text', 'boolean', 'date', 'time' or",
    ),
    "unknown encoding": (
        "label: species",
        "label: species\n    read: {encoding: utf9}",
        7,
        "datasets.songs.read.encoding",
        "got 'utf9', expected an encoding of Python",
    ),
    "encoding that is no text": (
        "label: species",
        "label: species\n    read: {encoding: zip}",
        7,
        "datasets.songs.read.encoding",
        "got 'zip', expected an encoding of Python",
    ),
    "null that is no word": (
        "label: species",
        "label: species\n    read: {nulls: [true]}",
        7,
        "datasets.songs.read.nulls.0",
        "got True, expected a word or a number",
    ),
    "keep beside drop": (
        "label: species",
        "label: species\n    read: {keep: [a], drop: [b]}",
        7,
        "datasets.songs.read",
        "got both keep and drop, expected one of them",
    ),
    "one sign for two things": (
        "label: species",
        "label: species\n    read: {decimal: ',', thousands: ','}",
        7,
        "datasets.songs.read",
        "got ',' for both thousands and decimal",
    ),
    "word of files for another source": (
        "source: files:songs.csv\n    label: species",
        "source: sklearn:iris\n    label: species\n    read: {delimiter: ';'}",
        7,
        "datasets.songs.read.delimiter",
        "means something for files: only, got the source 'sklearn:iris'",
    ),
    "dropped label": (
        "label: species",
        "label: species\n    read: {drop: ['spec*']}",
        7,
        "datasets.songs.read.drop",
        "'spec*' drops the label 'species'",
    ),
    "task without a label": (
        "label: species",
        "task: regression",
        6,
        "datasets.songs.task",
        "got regression, expected a label to predict beside it",
    ),
    "unknown task": (
        "label: species",
        "label: species\n    task: classify",
        7,
        "datasets.songs.task",
        "got 'classify', expected: 'classification', 'regression', 'text-classification' or",
    ),
    "undeclared service of a request log": (
        "files:songs.csv",
        "requests:singer",
        5,
        "datasets.songs.source",
        "got 'singer', expected a declared service; did you mean 'singer-api'?",
    ),
    "service whose model nothing proves": (
        "{accuracy: {at_least: 0.5}}",
        "{}",
        18,
        "services.singer-api.model",
        "nothing may reach traffic without evidence",
    ),
    "names that differ only in - and _": (
        "  singer-api:\n    model: singer\n",
        "  singer-api:\n    model: singer\n  singer_api:\n    model: singer\n",
        19,
        "services.singer_api",
        "'singer_api' and 'singer-api' differ only in - and _",
    ),
    "hyperparameter that is no number": (
        "    dataset: songs",
        "    dataset: songs\n    hyperparameters: {rate: .nan}",
        11,
        "models.singer.hyperparameters.rate",
        "got nan, expected a finite number",
    ),
}
SUITE_MISTAKES = {
    "unknown key": ("seeds: [1]", "sedes: [1]", 8, "sedes", "did you mean 'seeds'?"),
    "unknown nested key": ("height: 2", "heigth: 2", 4, "image.heigth", "did you mean 'height'?"),
    "unknown kind": ("kind: corruptions", "kind: corruption", 1, "kind", "mean 'corruptions'?"),
    "wrong kind": ("kind: corruptions", "kind: [corruptions]", 1, "kind", "got ['corruptions']"),
    "wrong type": ("width: 2", "width: wide", 5, "image.width", "got 'wide', expected"),
}


def test_shipped_projects_load():
    loaded = load_projects([CHECKOUT / "projects"])

    assert [project.name for project in loaded] == ["cartpole", "digits", "wine"]
    assert loaded[1].suites["attack"].kind == "linf_attack"


def test_project_in_a_folder_of_its_own_loads_with_its_trainer_and_suite(project_file):
    project = load_project(project_file)

    assert project.name == "birds"
    assert project.suites["storms"].image.height == 2
    assert project.base == project_file.parent


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_told_with_file_line_path_and_cure(
    mistake, project_file, declaration, problems_of
):
    old, new, line, path, message = MISTAKES[mistake]
    assert declaration.count(old) == 1

    problems = problems_of(declaration.replace(old, new))

    refusal = [problem for problem in problems if problem.path == path]
    assert len(refusal) == 1, problems
    assert str(refusal[0]).startswith(f"{project_file}:{line}: {path}: ")
    assert message in refusal[0].message


@pytest.mark.parametrize("mistake", SUITE_MISTAKES)
def test_mistake_in_a_suite_is_told_with_its_place_and_cure(
    mistake, project_file, declaration, problems_of
):
    old, new, line, path, message = SUITE_MISTAKES[mistake]
    suite = project_file.with_name("storms.yaml")
    text = suite.read_text() + "seeds: [1]\n"
    assert text.count(old) == 1
    suite.write_text(text.replace(old, new))

    problems = problems_of(declaration)

    refusal = [problem for problem in problems if problem.path == path]
    assert len(refusal) == 1, problems
    assert str(refusal[0]).startswith(f"{suite}:{line}: {path}: ")
    assert message in refusal[0].message


def test_all_mistakes_are_told_together(declaration, problems_of):
    problems = problems_of(declaration.replace("label:", "lable:").replace("owner:", "ownr:"))

    assert {problem.path for problem in problems} == {"datasets.songs.lable", "owner", "ownr"}


@pytest.mark.parametrize(
    "source", [b"def train(:\n", b"# \xe9\ndef train(config): ...\n"], ids=["syntax", "encoding"]
)
def test_trainer_that_is_not_python_is_a_problem_of_the_declaration(
    source, project_file, declaration, problems_of
):
    project_file.with_name("birdsong.py").write_bytes(source)

    problems = problems_of(declaration)

    assert [problem.path for problem in problems] == ["models.singer.trainer"]


def test_loading_does_not_run_the_code_beside_a_project(project_file, declaration):
    package = project_file.parent / "aviary"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('was run')\n")
    (package / "songs.py").write_text("def train(config): ...\n")
    project_file.write_text(declaration.replace("birdsong:train", "aviary.songs:train"))

    project = load_project(project_file)

    assert project.declaration.models["singer"].trainer == "aviary.songs:train"


def test_loading_leaves_the_finders_of_other_threads_alone(project_file, declaration, monkeypatch):
    class Busy:
        def invalidate_caches(self):
            raise RuntimeError("another thread is importing")

    monkeypatch.setitem(sys.path_importer_cache, str(project_file.parent), Busy())
    project_file.write_text(declaration)

    project = load_project(project_file)

    assert project.name == "birds"


def test_a_trainer_may_lie_in_a_package_of_several_folders(
    tmp_path, project_file, declaration, monkeypatch
):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    for folder, module in ((tmp_path / "elsewhere", "calls"), (project_file.parent, "songs")):
        (folder / "aviary").mkdir(parents=True)
        (folder / "aviary" / f"{module}.py").write_text("def train(config): ...\n")
    project_file.write_text(declaration.replace("birdsong:train", "aviary.calls:train"))

    project = load_project(project_file)

    assert project.declaration.models["singer"].trainer == "aviary.calls:train"


def test_trainers_of_two_folders_may_have_the_same_package_name(
    tmp_path, project_file, declaration, monkeypatch
):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    text = declaration.replace("birdsong:train", "nestlings.songs:FUNCTION")
    files = []
    for folder, function in (("first", "chirp"), ("second", "tweet")):
        package = tmp_path / folder / "nestlings"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "songs.py").write_text(f"def {function}(config): ...\n")
        files.append(tmp_path / folder / f"{folder}.yaml")
        files[-1].write_text(
            text.replace("FUNCTION", function).replace("project: birds", f"project: {folder}")
        )
        (tmp_path / folder / "storms.yaml").write_bytes(
            project_file.with_name("storms.yaml").read_bytes()
        )

    loaded = [load_project(file).name for file in files]

    assert loaded == ["first", "second"]


def test_two_files_may_not_declare_the_same_project(project_file, declaration):
    project_file.with_name("other.yaml").write_text(declaration)
    project_file.with_name("storms.yaml").rename(project_file.with_name("storms.suite"))
    for file in project_file.parent.glob("*.yaml"):
        file.write_text(declaration.replace("storms.yaml", "storms.suite"))

    with pytest.raises(InvalidProject) as raised:
        load_projects([project_file.parent])

    (problem,) = raised.value.problems
    assert problem.file.name == "other.yaml"
    assert problem.message == f"'birds' is declared in {project_file}"


def test_two_projects_may_not_differ_only_in_hyphen_and_underscore(project_file, declaration):
    project_file.with_name("storms.yaml").rename(project_file.with_name("storms.suite"))
    text = declaration.replace("storms.yaml", "storms.suite")
    project_file.write_text(text.replace("project: birds", "project: my-birds"))
    project_file.with_name("other.yaml").write_text(
        text.replace("project: birds", "project: my_birds")
    )

    with pytest.raises(InvalidProject, match=r"my_birds.*my-birds|my-birds.*my_birds"):
        load_projects([project_file.parent])


def test_missing_folder_of_projects_is_named(tmp_path):
    with pytest.raises(InvalidProject, match="absent:0: no such folder"):
        load_projects([tmp_path / "absent"])


def test_problems_of_every_file_are_told_together(tmp_path):
    (tmp_path / "a.yaml").write_text("project: a\n")
    (tmp_path / "b.yml").write_text("project: b\n")

    with pytest.raises(InvalidProject) as raised:
        load_projects([tmp_path])

    assert [(p.file.name, p.path) for p in raised.value.problems] == [
        ("a.yaml", "owner"),
        ("b.yml", "owner"),
    ]
