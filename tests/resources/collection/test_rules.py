"""What is declared, what is needed and the time decide what goes."""

import pytest

from projects.retention import Kept, KeptCheckpoints, Retention
from resources.collection.item import Item
from resources.collection.rules import DAY_S, Policies, sort_out

NOW = 1_000 * DAY_S


def aged(*days: float, **more) -> list[Item]:
    return [
        Item("checkpoint", "checkpoints", "p", "m", f"{each:g}", NOW - each * DAY_S, 1, **more)
        for each in days
    ]


def chosen(items, checkpoints=None, broken=()) -> list[str]:
    declared = {"p": Retention(checkpoints=checkpoints or KeptCheckpoints())}
    policies = Policies(declared, frozenset(broken), Retention())
    return sorted((item.name for item in sort_out(items, policies, NOW).chosen), key=float)


def test_without_a_bound_everything_stays():
    assert chosen(aged(0, 10, 1_000)) == []


def test_what_is_older_than_the_days_goes():
    assert chosen(aged(2, 29, 31), KeptCheckpoints(keep_days=30)) == ["31"]


def test_all_but_the_newest_go():
    assert chosen(aged(5, 2, 9, 7), KeptCheckpoints(keep_newest=2)) == ["7", "9"]


def test_what_either_bound_keeps_stays():
    both = KeptCheckpoints(keep_days=3, keep_newest=3)
    assert chosen(aged(2, 5, 7, 9), both) == ["9"]


@pytest.mark.parametrize(("lower", "best"), [(False, "20"), (True, "40")])
def test_the_best_stay_however_old(lower, best):
    items = [
        i._replace(value=v) for i, v in zip(aged(10, 20, 30, 40), [2, 9, None, 1], strict=True)
    ]
    kept = KeptCheckpoints(keep_best=1, metric="m", lower_is_better=lower)
    assert best not in chosen(items, kept)
    assert len(chosen(items, kept)) == 3


def test_what_is_younger_than_a_day_or_needed_stays_whatever_is_declared():
    one = KeptCheckpoints(keep_newest=1)
    assert chosen(aged(0.1, 0.9, 2), one) == ["2"]
    assert chosen([*aged(2), *aged(3, needed="it serves")], one) == []


def test_all_of_a_broken_declaration_stays():
    assert chosen(aged(10, 20), KeptCheckpoints(keep_days=1), broken={"p"}) == []


def test_what_no_declaration_names_stays_and_says_why():
    strange = [item._replace(project="gone") for item in aged(500)]
    sorted_out = sort_out(strange, Policies({}, frozenset(), Retention()), NOW)
    assert [reason.split(":")[0] for _, reason in sorted_out.kept] == [
        "no declaration names its project"
    ]


def test_what_belongs_to_no_project_goes_by_the_settings():
    nobody = [item._replace(project="") for item in aged(5, 50)]
    others = Retention(checkpoints=KeptCheckpoints(keep_days=30))
    sorted_out = sort_out(nobody, Policies({}, frozenset(), others), NOW)
    assert [item.name for item in sorted_out.chosen] == ["50"]


def test_what_goes_with_another_takes_no_place_among_the_newest():
    items = [*aged(2, follows=True), *aged(5, 9)]
    assert chosen(items, KeptCheckpoints(keep_newest=1)) == ["2", "9"]


def test_a_bound_is_at_least_one():
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        Kept(keep_days=0)
