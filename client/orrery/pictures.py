"""Pictures that runs keep, shown where a notebook shows a value."""

from base64 import b64encode
from dataclasses import dataclass, field
from html import escape


@dataclass(frozen=True)
class Picture:
    """A picture as PNG."""

    name: str
    """Path among the files of its run, such as `simulations/weathering/accuracy.png`."""
    content: bytes = field(repr=False)

    def _repr_png_(self) -> bytes:
        return self.content

    def html(self) -> str:
        """The picture as a part of a page."""
        data = b64encode(self.content).decode()
        source = f"data:image/png;base64,{data}"
        return f'<img alt="{escape(self.name)}" src="{source}" style="max-width: 30em">'

    def save(self, path: str) -> None:
        """Write it to the file."""
        with open(path, "wb") as file:
            file.write(self.content)
