"""A project from a folder of images, one folder in it for each class."""

from pathlib import Path

from api.cli.starting.draft import CannotStart, Draft, Request, scalar

TRAINER = "training.vision:train"
SIDES = (8, 16, 28, 32, 64)
"""Sides that images are brought to, of which the nearest is taken."""


def recognises(source: str) -> bool:
    """Whether the source is a folder."""
    return Path(source).is_dir()


def draft(request: Request) -> Draft:
    """The project of the images. Raises CannotStart."""
    folder = Path(request.source)
    classes = sorted(
        each.name for each in folder.iterdir() if each.is_dir() and each.name[0] not in "._"
    )
    if len(classes) < 2:
        raise CannotStart(
            f"{folder} has {len(classes)} folders, expected one for each class, with images in it"
        )
    side = _side(folder)
    lines = [
        f"project: {request.name}",
        "owner: team:me                       # who answers for it: team:NAME, or an address",
        "",
        "datasets:",
        "  pictures:",
        f"    source: {scalar('images:' + str(folder))}",
        "    label: label",
        f"    image: {{height: {side}, width: {side}}}    # grey pixels of this size are columns",
        "    split: {test: 0.25, seed: 0}",
        "",
        "models:",
        "  model:",
        "    dataset: pictures",
        f"    trainer: {TRAINER}     # or a function of yours: module:function",
        "    hyperparameters: {epochs: 20, learning_rate: 1.0e-3, batch_size: 32, shift: 1.0}",
        "",
        "simulations:",
        "  weathering:",
        "    model: model",
        "    suite:",
        "      kind: corruptions",
        f"      image: {{height: {side}, width: {side}, low: 0, high: 255}}",
        "      corruptions: {noise: [0.1, 0.3], blur: [0.1, 0.3], shift: [0.1, 0.3]}",
        "      gated_up_to: 0.1",
        f"    gate: {{accuracy: {{at_least: {_bound(len(classes)):g}}}}}   # chance is "
        f"{1 / len(classes):.2g}",
        "",
        "services:",
        "  api: {model: model}",
    ]
    shown = ", ".join(classes[:8])
    return Draft(request.name, "\n".join(lines) + "\n", [f"{len(classes)} classes: {shown}"])


def _side(folder: Path) -> int:
    from PIL import Image

    for file in sorted(folder.glob("*/*"))[:1]:
        with Image.open(file) as image:
            wanted = min(max(image.size), SIDES[-1])
        return min(SIDES, key=lambda side: abs(side - wanted))
    raise CannotStart(f"{folder} holds no image in its folders")


def _bound(classes: int) -> float:
    """Half of the way from chance to certainty."""
    return round(0.5 * (1 + 1 / classes), 2)
