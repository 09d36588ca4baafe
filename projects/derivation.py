"""The declaration of a dataset that is made from others."""

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from projects.declared import Declared, Name

Function = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
WAYS = ("sql", "transform", "predict")
"""Keys that say how a dataset is made from others."""
SCHEME = "from:"
"""Beginning of the source of a dataset that is made from others."""


class Derivation(Declared):
    """What a dataset is made from, in place of a source of its own."""

    from_: list[Name] = Field(default=[], alias="from")
    """Datasets of this project that it is made from, by `sql`, `transform` or `predict`."""
    sql: str | None = None
    """SELECT of DuckDB over the datasets by name; a name with a hyphen stands in double quotes."""
    transform: Function | None = None
    """`module:function` that takes a table for each dataset, in order, and gives a table: pandas
    DataFrames where its first parameter is annotated so, else pyarrow Tables."""
    predict: Name | None = None
    """Model whose champion predicts for every row of the one dataset: the columns `prediction`,
    `probability` and `model_version` are added."""
    timeout_s: float = Field(default=3_600, gt=0)
    """Longest time that `transform` or `predict` may take."""

    @model_validator(mode="before")
    @classmethod
    def _has_one_origin(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("from"), list):
            return given
        source = SCHEME + ",".join(map(str, given["from"]))
        if given.get("source", source) != source:
            raise ValueError("got both source and from, expected one of them")
        return {**given, "source": source}

    @model_validator(mode="after")
    def _has_one_way(self) -> Self:
        ways = [way for way in WAYS if getattr(self, way)]
        if self.from_ and len(ways) != 1:
            got = " and ".join(ways) or "neither"
            raise ValueError(f"got {got} beside from, expected one of {', '.join(WAYS)}")
        if ways and not self.from_:
            raise ValueError(f"got {ways[0]}, expected the datasets that it reads beside it: from")
        if self.predict and len(self.from_) != 1:
            raise ValueError(f"got {self.from_} as from, expected the one dataset to predict for")
        if len(set(self.from_)) < len(self.from_):
            raise ValueError(f"got {self.from_} as from, expected every dataset once")
        return self
