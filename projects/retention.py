"""How long what a project makes is kept; without it, for ever."""

from typing import Self

from pydantic import Field, model_validator

from projects.declared import Declared


class Kept(Declared):
    """What is kept: what is young enough, and the newest ones; all of it where neither is said."""

    keep_days: int | None = Field(default=None, ge=1)
    """Days after which one may be removed."""
    keep_newest: int | None = Field(default=None, ge=1)
    """The newest ones stay, however old they are."""

    @property
    def is_bounded(self) -> bool:
        """Whether anything may ever be removed."""
        return self.keep_days is not None or self.keep_newest is not None


class KeptCheckpoints(Kept):
    """Checkpoints that are kept of each model."""

    keep_best: int | None = Field(default=None, ge=1)
    """The best ones stay, by `metric`."""
    metric: str | None = None
    """What they are compared by: a metric of the training, such as `test_accuracy`."""
    lower_is_better: bool = False
    """Whether the best has the lowest value."""

    @property
    def is_bounded(self) -> bool:
        """Whether anything may ever be removed."""
        return super().is_bounded or self.keep_best is not None

    @model_validator(mode="after")
    def _knows_what_is_best(self) -> Self:
        if (self.keep_best is None) != (self.metric is None):
            raise ValueError(
                f"got keep_best {self.keep_best} and metric {self.metric}, expected both: the best "
                "are those with the best value of the metric"
            )
        return self


class Retention(Declared):
    """What `orrery gc` keeps of a project; what is served, registered with an alias, under way,
    referred to or younger than a day stays in any case."""

    runs: Kept = Kept()
    """dagster_runs with their events, output and work folders."""
    logs: Kept = Kept()
    """Output of processes and steps."""
    checkpoints: KeptCheckpoints = KeptCheckpoints()
    """Checkpoints of each model."""
    versions: Kept = Kept()
    """Versions of each dataset and each model, with their artefacts and evidence."""
