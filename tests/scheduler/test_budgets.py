import threading
import time

import pytest

from scheduler import budgets, jobs
from scheduler.budgets import Budget, BudgetExceeded, Prices

PRICES = Prices(gpu_h=2.0, process_h=0.5)


def take(connection, gpus=1, expected_s=3600.0):
    return jobs.create(
        connection,
        organization="home",
        project="p",
        kind="train",
        name="m",
        spec={},
        created_by="u",
        key_id="key_1",
        gpus=gpus,
        expected_s=expected_s,
    )


def admit(connection, budget, gpus=1, expected_s=3600.0):
    budgets.admit(connection, "key_1", budget, PRICES, gpus, expected_s)


def test_a_job_that_fits_is_admitted(control):
    with control.write() as connection:
        admit(connection, Budget(gpu_h=2.0, money=None))


def test_a_job_that_is_under_way_reserves_what_it_is_expected_to_use(control):
    with control.write() as connection:
        take(connection)
        with pytest.raises(BudgetExceeded, match=r"1\.000 of its 1\.5"):
            admit(connection, Budget(gpu_h=1.5, money=None))


def test_a_job_that_ended_counts_with_what_it_used(control):
    with control.write() as connection:
        job = take(connection)
        now = time.time()
        jobs.proceed(connection, job, "succeeded", started_at=now - 360, ended_at=now)
        assert jobs.used_gpu_h(connection, "key_1") == pytest.approx(0.1)
        admit(connection, Budget(gpu_h=1.5, money=None))


def test_a_budget_of_money_counts_gpus_and_processes(control):
    with control.write() as connection:
        job = take(connection)
        now = time.time()
        jobs.proceed(connection, job, "succeeded", started_at=now - 3600, ended_at=now)
        with pytest.raises(BudgetExceeded, match=r"2\.50 of its 4"):
            admit(connection, Budget(gpu_h=None, money=4.0))


def test_two_jobs_at_once_do_not_both_fit_the_last_of_a_budget(control):
    with control.write() as connection:
        take(connection, gpus=0)
    outcomes = []

    def race():
        try:
            with control.write() as connection:
                admit(connection, Budget(gpu_h=1.0, money=None))
                take(connection)
            outcomes.append("taken")
        except BudgetExceeded:
            outcomes.append("refused")

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 3 + ["taken"]
