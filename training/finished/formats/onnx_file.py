"""ONNX files of any exporter."""

from pathlib import Path

from engine.artefact import ONNX
from engine.protocol import Refused
from training.contract import DatasetFiles
from training.finished.format import Described, ModelFormat


class OnnxFile(ModelFormat):
    """A `.onnx` file, with its external data beside it where it has some."""

    @property
    def expects(self) -> str:
        """What it takes."""
        return "an ONNX file (.onnx)"

    def recognises(self, place: Path) -> bool:
        """By the end of its name."""
        return place.is_file() and place.suffix.lower() == ".onnx"

    def convert(self, place: Path, folder: Path, dataset: DatasetFiles | None) -> Described:
        """The model in one file, with scores in place of maps."""
        import onnx
        from google.protobuf.message import DecodeError

        from training.finished.scores import classes_in, without_map

        try:
            model = onnx.load(place)
            classes = classes_in(model)
            without_map(model)
            onnx.save(model, folder / ONNX)
        except (DecodeError, ValueError, onnx.checker.ValidationError) as error:
            raise Refused(f"{place.name} is no ONNX model: {error}") from error
        return Described(classes)


FORMAT = OnnxFile()
