from hypothesis import given
from hypothesis import strategies as st

from scheduler.forecast import FEWEST, Observed, forecast


def past(*seconds, **hyperparameters):
    return [Observed(f"job_{n}", s, hyperparameters) for n, s in enumerate(seconds)]


def test_too_few_jobs_give_no_forecast():
    assert forecast(past(*range(1, FEWEST)), {}) is None


def test_the_interval_reaches_from_the_shortest_to_the_longest():
    result = forecast(past(10, 30, 20), {})
    assert (result.low_s, result.high_s) == (10, 30)


def test_the_confidence_is_that_of_the_order_statistics():
    assert forecast(past(*range(1, 10)), {}).confidence == 0.8


def test_it_names_the_jobs_it_rests_on():
    assert forecast(past(1, 2, 3), {}).jobs == ["job_0", "job_1", "job_2"]


def test_more_units_of_work_raise_the_upper_end_in_proportion():
    result = forecast(past(10, 10, 10, epochs=5), {"epochs": 10})
    assert (result.low_s, result.high_s) == (10, 20)


def test_fewer_units_lower_the_lower_end_in_proportion():
    result = forecast(past(10, 10, 10, epochs=10), {"epochs": 5})
    assert (result.low_s, result.high_s) == (5, 10)


@given(
    st.floats(0, 100),
    st.floats(0.1, 10),
    st.lists(st.integers(1, 50), min_size=3, max_size=9),
    st.integers(1, 50),
)
def test_a_job_of_a_fixed_start_and_a_pace_lies_in_the_interval(start, pace, units, wanted):
    observed = [Observed("j", start + pace * u, {"epochs": u}) for u in units]
    result = forecast(observed, {"epochs": wanted})
    assert result.low_s - 0.1 <= start + pace * wanted <= result.high_s + 0.1
