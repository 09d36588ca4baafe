"""Budgets: what a key's jobs may cost, in GPU-hours and in money."""

from typing import NamedTuple

from sqlalchemy import Connection, text

from scheduler.usage import Usage, usage


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

    @property
    def is_endless(self) -> bool:
        """Whether nothing is limited."""
        return self.gpu_h is None and self.money is None


class Account(NamedTuple):
    """How a budget stands: what is used, what is reserved for jobs that have not ended."""

    limit: float
    used: float
    reserved: float

    @property
    def left(self) -> float:
        """What a new job may need at most."""
        return max(0.0, self.limit - self.used - self.reserved)


class BudgetExceeded(Exception):
    """A job would cost more than its key has left."""


class DurationUnknown(Exception):
    """Nobody knows how long the job may take, so that nothing can be reserved for it."""


def accounts(
    connection: Connection, key_id: str, budget: Budget, prices: Prices
) -> dict[str, Account]:
    """The budget's accounts by their unit, `gpu_h` and `money`; without those that are endless."""
    return accounts_of(usage(connection, key_id), budget, prices)


def accounts_of(hours: Usage, budget: Budget, prices: Prices) -> dict[str, Account]:
    """The accounts of a budget of which so much is used and reserved."""
    accounts: dict[str, Account] = {}
    if budget.gpu_h is not None:
        accounts["gpu_h"] = Account(budget.gpu_h, hours.gpu_h, hours.reserved_gpu_h)
    if budget.money is not None:
        accounts["money"] = Account(
            budget.money,
            hours.gpu_h * prices.gpu_h + hours.process_h * prices.process_h,
            hours.reserved_gpu_h * prices.gpu_h + hours.reserved_process_h * prices.process_h,
        )
    return accounts


def admit(
    connection: Connection,
    key_id: str,
    budget: Budget,
    prices: Prices,
    gpus: int,
    expected_s: float | None,
) -> None:
    """Return when the upper estimate of the job fits what is left.

    Must run in the transaction that creates the job: two jobs at once must not both fit. Raises
    BudgetExceeded or DurationUnknown.
    """
    _alone(connection, key_id)
    needed_an_hour = {"gpu_h": float(gpus), "money": prices.money(3600, gpus)}
    standing = accounts(connection, key_id, budget, prices)
    if expected_s is None and any(needed_an_hour[unit] for unit in standing):
        raise DurationUnknown(
            "the key has a budget, and too few jobs like this one have ended to say how long it "
            "takes; set max_seconds, the time after which the job is stopped"
        )
    for unit, account in standing.items():
        needed = needed_an_hour[unit] * (expected_s or 0.0) / 3600
        if needed > account.left or account.left <= 0:
            name = "GPU-hours" if unit == "gpu_h" else "money"
            raise BudgetExceeded(
                f"the key has a budget of {account.limit:g} ({name}), of which {account.used:.3f} "
                f"is used, {account.reserved:.3f} reserved for jobs that have not ended, and "
                f"{account.left:.3f} left; this job may need {needed:.3f}. Ask for a key "
                "with a larger budget, or set a smaller max_seconds"
            )


def _alone(connection: Connection, key_id: str) -> None:
    """Let no other job of the key be admitted until the transaction ends; SQLite has one writer
    anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": key_id})
