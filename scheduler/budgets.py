"""Budgets: what a key's jobs may cost, in GPU-hours and in money."""

from typing import NamedTuple

from sqlalchemy import Connection, text

from scheduler.jobs import used_gpu_h, used_process_h


class Prices(NamedTuple):
    """Money for an hour; the currency is whatever the prices are in."""

    gpu_h: float
    process_h: float

    def money(self, seconds: float, gpus: int) -> float:
        """Cost of a job of one process."""
        return round((self.gpu_h * gpus + self.process_h) * seconds / 3600, 6)


class Budget(NamedTuple):
    """What a key may use in all; None is without end."""

    gpu_h: float | None
    money: float | None


class BudgetExceeded(Exception):
    """A job would cost more than its key has left."""


def admit(
    connection: Connection,
    key_id: str,
    budget: Budget,
    prices: Prices,
    gpus: int,
    expected_s: float | None,
) -> None:
    """Return when the job fits what is left. Raises BudgetExceeded.

    Must run in the transaction that creates the job: two jobs at once must not both fit.
    """
    _alone(connection, key_id)
    gpu_h = used_gpu_h(connection, key_id)
    hours = (expected_s or 0.0) / 3600
    if budget.gpu_h is not None and (gpu_h >= budget.gpu_h or gpu_h + gpus * hours > budget.gpu_h):
        raise BudgetExceeded(
            f"the key has used or reserved {gpu_h:.3f} of its {budget.gpu_h:g} GPU-hours, and this "
            f"job may need {gpus * hours:.3f} more; ask for a key with a larger budget"
        )
    if budget.money is None:
        return
    spent = gpu_h * prices.gpu_h + used_process_h(connection, key_id) * prices.process_h
    needed = prices.money(expected_s or 0.0, gpus)
    if spent >= budget.money or spent + needed > budget.money:
        raise BudgetExceeded(
            f"the key has spent {spent:.2f} of its {budget.money:g}, and this job may cost "
            f"{needed:.2f} more; ask for a key with a larger budget"
        )


def _alone(connection: Connection, key_id: str) -> None:
    """Let no other job of the key be admitted until the transaction ends; SQLite has one writer
    anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": key_id})
