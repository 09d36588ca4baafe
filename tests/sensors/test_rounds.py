"""A look at many things goes round."""

from sensors.rounds import look_around


def test_every_thing_is_looked_at_once_from_the_place_on():
    seen = []

    assert look_around("abcd", 2, seen.append, 60.0) == 2
    assert seen == ["c", "d", "a", "b"]


def test_where_the_time_is_over_the_next_look_goes_on():
    seen, begin = [], 0

    for _ in range(4):
        begin = look_around("abc", begin, seen.append, -1.0)

    assert seen == ["a", "b", "c", "a"]


def test_a_place_beyond_the_things_begins_within_them():
    seen = []

    assert look_around("ab", 5, seen.append, 60.0) == 1
    assert seen == ["b", "a"]
