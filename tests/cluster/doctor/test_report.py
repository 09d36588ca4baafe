"""People read the doctor's findings in 80 columns, and copy its commands."""

import os
import re
import subprocess
import sys

import pytest

from resources.settings import CHECKOUT
from tests.cluster.doctor.examined import PASSWORD, findings

pytest_plugins = ("tests.cluster.doctor.examined",)

WIDTH = 80


def orrery():
    return subprocess.run(
        [sys.executable, "-c", "from api.cli.main import main; main()", "doctor"],
        cwd=CHECKOUT,
        env={**os.environ, "COLUMNS": str(WIDTH)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def ill(whole):
    """A cluster with something of every state."""
    whole.api.delete("Secret", "orrery-engines")
    for each in whole.api.list("WorkloadPriorityClass"):
        whole.api.delete("WorkloadPriorityClass", each["metadata"]["name"])
    whole.api.deny("list", "nodes")
    whole.api.deny("list", "rayjobs", f"system:serviceaccount:{whole.namespace}:orrery-run")
    return whole


def test_what_is_missing_is_printed_first_and_what_is_well_last(ill):
    shown = orrery()

    titles = re.findall(r"^(\w.*) \(\d+\)$", shown.stdout, re.MULTILINE)
    assert shown.returncode == 1, shown.stderr
    assert titles == ["missing", "warnings", "skipped: not known from here", "well"]
    assert PASSWORD not in shown.stdout + shown.stderr


def test_every_command_is_a_line_of_its_own_however_long_it_is(ill):
    commands = [command for each in findings() for command in each.commands]

    lines = [line.strip() for line in orrery().stdout.splitlines()]

    assert any(len(command) > WIDTH for command in commands)
    assert [command for command in commands if command not in lines] == []


def test_everything_else_fits_into_the_width(ill):
    commands = {command for each in findings() for command in each.commands}

    shown = orrery().stdout

    others = [line for line in shown.splitlines() if line.strip() not in commands]
    assert [line for line in others if len(line) > WIDTH] == []
    assert "…" not in shown
    assert "..." not in shown


def test_every_finding_is_printed_whole(ill):
    shown = " ".join(orrery().stdout.split())

    for each in findings():
        # How far clocks are apart differs from one look to the next.
        if each.name != "clock":
            assert " ".join(each.message.split()) in shown, each
            assert " ".join(each.todo.split()) in shown, each
