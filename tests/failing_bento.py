"""Services that are ready and answer no prediction: with an error, or not at all."""

from pathlib import Path

CALL = "await self._batcher.outputs("
IS_QUICK = "return self._batcher.is_quick"


def fail_all_predictions(bento: Path) -> None:
    """Change the code of the unpacked Bento, so that every prediction is answered with 500."""
    _replace_the_call(bento, "await self._batcher.lost(")


def hold_all_predictions(bento: Path) -> None:
    """Change the code of the unpacked Bento, so that no prediction ends within an hour."""
    _replace_the_call(bento, f'await __import__("asyncio").sleep(3_600) or {CALL}')


def _replace_the_call(bento: Path, call: str) -> None:
    answer = bento / "src" / "answers.py"
    text = answer.read_text()
    for part in (CALL, IS_QUICK):
        assert part in text, f"{answer} has no {part!r} any more; name the call that predicts"
    # So that all predictions go the way of the call.
    answer.write_text(text.replace(CALL, call).replace(IS_QUICK, "return False"))
