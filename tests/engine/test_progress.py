"""Lines of progress as their driver reads them."""

from engine.progress import ProgressLog, follow


def test_a_line_that_a_killed_engine_left_half_written_is_passed_over(tmp_path):
    ProgressLog(tmp_path, "step", 3).report(1)
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"at": 1, "do\n')
    ProgressLog(tmp_path, "step", 3, 1).report(2)

    assert [line.done for line, _ in follow(tmp_path)] == [1, 2]
    (_, first), (_, last) = follow(tmp_path)
    assert [line.done for line, _ in follow(tmp_path, first)] == [2]
    assert last == (tmp_path / "progress.jsonl").stat().st_size
