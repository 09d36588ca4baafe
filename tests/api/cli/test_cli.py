import subprocess
import sys

from resources.settings import CHECKOUT


def orrery(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", "from api.cli.main import main; main()", *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_shipped_projects_are_sound():
    checked = orrery("check")
    assert checked.returncode == 0, checked.stderr
    assert "digits: 1 dataset, 1 model, 2 simulations, 1 service" in checked.stdout


def test_a_broken_project_is_named_with_file_line_and_nearest_key(flowers):
    file = flowers / "flowers.yaml"
    file.write_text(file.read_text().replace("hyperparameters:", "hyperparametres:"))
    checked = orrery("check", str(flowers))
    assert checked.returncode == 1
    line = file.read_text().splitlines().index("    hyperparametres: {epochs: 5}") + 1
    assert f"{file}:{line}: models.classifier.hyperparametres" in checked.stderr
    assert "did you mean 'hyperparameters'?" in checked.stderr


def test_an_unknown_command_is_an_error_without_a_trace():
    failed = orrery("updown")
    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr


def test_a_bad_setting_is_an_error_without_a_trace(monkeypatch):
    monkeypatch.setenv("ORRERY_ROUTER_PORT", "many")
    failed = orrery("down")
    assert failed.returncode == 1
    assert "router_port" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_down_without_up_says_that_nothing_runs(settings):
    done = orrery("down")
    assert done.returncode == 0
    assert "nothing is running" in done.stdout


def test_without_a_platform_a_command_says_how_to_come_in(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    failed = orrery("projects", "list")
    assert failed.returncode == 1
    assert "orrery up" in failed.stderr


def test_a_platform_that_does_not_answer_ends_with_3(monkeypatch):
    monkeypatch.setenv("ORRERY_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ORRERY_KEY", "orr_x")
    failed = orrery("projects", "list")
    assert failed.returncode == 3
    assert "nobody answers" in failed.stderr


def test_a_value_that_does_not_fit_ends_with_2(monkeypatch):
    monkeypatch.setenv("ORRERY_KEY", "orr_x")
    failed = orrery("train", "list", "--status", "sleeping")
    assert failed.returncode == 2
    assert "status" in failed.stderr


def test_the_openapi_document_is_printed():
    import json

    assert json.loads(orrery("openapi").stdout)["openapi"].startswith("3.1")
