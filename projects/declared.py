"""What every part of a declaration shares: closed to unknown keys, and names of one form."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,47}$")]


class Declared(BaseModel):
    """A part of a declaration: immutable, and closed to keys that nothing reads."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, serialize_by_alias=True
    )
