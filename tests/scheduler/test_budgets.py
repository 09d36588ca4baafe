import importlib
import threading
import time

import pytest
from sqlalchemy import delete, text

from scheduler import budgets, jobs
from scheduler.budgets import Budget, BudgetExceeded, DurationUnknown, Prices
from scheduler.tables import used
from scheduler.usage import usage

migration = importlib.import_module("resources.database.migrations.versions.0004_used_hours")
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


def test_a_job_that_has_not_ended_reserves_its_upper_estimate(control):
    with control.write() as connection:
        take(connection)
        with pytest.raises(BudgetExceeded, match=r"budget of 1.5 .*1\.000 reserved.*0\.500 left"):
            admit(connection, Budget(gpu_h=1.5, money=None))


def test_what_a_job_has_used_is_no_longer_reserved(control):
    with control.write() as connection:
        job = take(connection, gpus=2, expected_s=3600.0)
        jobs.report(connection, job.id, {"ran_s": 900.0})
        result = usage(connection, "key_1")
        assert result.gpu_h == pytest.approx(0.5)
        assert result.reserved_gpu_h == pytest.approx(1.5)


def test_a_job_that_ended_counts_with_the_time_it_worked_and_not_with_its_queue(control):
    with control.write() as connection:
        job = take(connection)
        now = time.time()
        jobs.proceed(
            connection, job, "succeeded", started_at=now - 36_000, ended_at=now, ran_s=360.0
        )
        result = usage(connection, "key_1")
        assert result.gpu_h == pytest.approx(0.1)
        assert result.reserved_gpu_h == 0.0
        admit(connection, Budget(gpu_h=1.5, money=None))


def test_a_budget_of_money_counts_gpus_and_processes(control):
    with control.write() as connection:
        job = take(connection)
        jobs.proceed(connection, job, "succeeded", ran_s=3600.0)
        with pytest.raises(BudgetExceeded, match=r"budget of 4 \(money\), of which 2\.500 is used"):
            admit(connection, Budget(gpu_h=None, money=4.0))


def test_a_job_of_unknown_duration_needs_a_limit_where_a_budget_is_held(control):
    with control.write() as connection:
        with pytest.raises(DurationUnknown, match="max_seconds"):
            admit(connection, Budget(gpu_h=1.0, money=None), expected_s=None)
        with pytest.raises(DurationUnknown, match="max_seconds"):
            admit(connection, Budget(gpu_h=None, money=1.0), gpus=0, expected_s=None)
        admit(connection, Budget(gpu_h=1.0, money=None), gpus=0, expected_s=None)
        admit(connection, Budget(gpu_h=None, money=None), expected_s=None)


def test_a_budget_shows_what_is_used_reserved_and_left(control):
    with control.write() as connection:
        job = take(connection, gpus=1, expected_s=3600.0)
        jobs.report(connection, job.id, {"ran_s": 1800.0})
        standing = budgets.accounts(connection, "key_1", Budget(4.0, 10.0), PRICES)
        assert standing["gpu_h"] == (4.0, 0.5, 0.5)
        assert standing["gpu_h"].left == 3.0
        assert standing["money"].used == pytest.approx(0.5 * 2.0 + 0.5 * 0.5)


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


def test_what_a_job_used_is_counted_once_when_it_ends(control):
    with control.write() as connection:
        take(connection, gpus=2)
        (job,) = jobs.claim(connection, 1)
        jobs.report(connection, job.id, {"ran_s": 900.0})
        jobs.ask_to_stop(connection, job, "enough")
        assert jobs.proceed(connection, job, "stopped")
        assert jobs.proceed(connection, job, "failed", ran_s=3600.0) is None
        jobs.report(connection, job.id, {"ran_s": 7200.0})
        jobs.delete(connection, job)
        assert usage(connection, "key_1") == pytest.approx((0.5, 0.25, 0.0, 0.0))


def test_a_job_that_never_started_used_nothing(control):
    with control.write() as connection:
        job = take(connection)
        assert jobs.ask_to_stop(connection, job, "no need").status == "stopped"
        assert usage(connection, "key_1") == (0.0, 0.0, 0.0, 0.0)


def test_an_installation_keeps_what_its_jobs_used_before(control):
    with control.write() as connection:
        for ran_s in (1800.0, 3600.0):
            jobs.proceed(connection, take(connection), "succeeded", ran_s=ran_s)
        take(connection, expected_s=7200.0)
        before = usage(connection, "key_1")
        connection.execute(delete(used))
        connection.execute(text(migration.SUMS))
        assert usage(connection, "key_1") == before == pytest.approx((1.5, 1.5, 2.0, 2.0))
