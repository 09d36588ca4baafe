"""Text classifiers in the layout of transformers: of the hub, or of `save_pretrained`."""

import shutil
from pathlib import Path

from engine.protocol import Refused
from engine.runtime.runtimes.transformers import RUNTIME
from training.contract import DatasetFiles
from training.finished.format import Described, ModelFormat

CONFIGURATION, WEIGHTS = "config.json", "*.safetensors"
READ = (".json", ".safetensors", ".txt", ".model", ".jinja")
"""Ends of the names of files that a network and a tokenizer are read from; none runs code."""


class Transformers(ModelFormat):
    """A folder with a configuration, weights in safetensors, and a tokenizer."""

    @property
    def expects(self) -> str:
        """What it takes."""
        return f"a folder of transformers ({CONFIGURATION}, {WEIGHTS} and a tokenizer)"

    def recognises(self, place: Path) -> bool:
        """By the files that every such folder has."""
        return (place / CONFIGURATION).is_file() and any(place.glob(WEIGHTS))

    def convert(self, place: Path, folder: Path, dataset: DatasetFiles | None) -> Described:
        """The files that are read, as they are; what their classes are, the configuration says."""
        target = folder / RUNTIME.model
        target.mkdir()
        for file in sorted(place.iterdir()):
            if file.is_file() and file.suffix in READ:
                shutil.copy(file, target / file.name)
        if not any(target.glob("tokenizer*")) and not any(target.glob("vocab*")):
            raise Refused(
                f"{place.name} has no tokenizer, expected one beside the model: "
                "tokenizer.save_pretrained(FOLDER)"
            )
        return Described()


FORMAT = Transformers()
