"""Arrow's compute functions, loaded at first use: they are made at run time, and take as long to
load as the rest of Arrow."""

from typing import Any


class _Functions:
    """The functions of `pyarrow.compute` by their names."""

    def __getattr__(self, name: str) -> Any:
        import pyarrow.compute

        function = getattr(pyarrow.compute, name)
        setattr(self, name, function)
        return function


pc: Any = _Functions()
