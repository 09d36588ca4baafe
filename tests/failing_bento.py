"""A service that is ready and answers every prediction with an error of its own."""

from pathlib import Path

CALL = "await self._batcher.outputs("


def fail_all_predictions(bento: Path) -> None:
    """Change the code of the unpacked Bento, so that every prediction is answered with 500."""
    answer = bento / "src" / "answers.py"
    text = answer.read_text()
    assert CALL in text, f"{answer} has no {CALL!r} any more; name the call that predicts"
    answer.write_text(text.replace(CALL, "await self._batcher.lost("))
