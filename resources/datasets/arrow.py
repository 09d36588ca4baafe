"""Arrow's compute functions, loaded at first use: they are made at run time, and take as long to
load as the rest of Arrow."""

from typing import Any


class _Functions:
    """The functions of `pyarrow.compute` by their names."""

    def __getattr__(self, name: str) -> Any:
        import pyarrow.compute

        found = getattr(pyarrow.compute, name)
        setattr(self, name, found)
        return found


pc: Any = _Functions()
