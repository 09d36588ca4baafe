"""Small pictures of datasets."""

import io

from resources.datasets.profiling import Profile

MOST_BARS = 30


def draw_profile(profile: Profile) -> bytes:
    """PNG with the balance of the classes, or the range of the first columns."""
    from matplotlib.figure import Figure

    # Not by pyplot, which keeps figures in globals, and is not made for threads.
    figure = Figure(figsize=(5, 2.5), layout="constrained")
    axes = figure.subplots()
    if profile.class_counts:
        counts = dict(list(profile.class_counts.items())[:MOST_BARS])
        axes.bar(list(counts), list(counts.values()), color="#4063d8")
        title = "rows by class"
        if len(profile.class_counts) > MOST_BARS:
            title = f"rows by class, {MOST_BARS} of {len(profile.class_counts)} classes"
        axes.set(title=title, ylabel="rows")
    else:
        every = [*profile.columns, *(group.whole() for group in profile.groups)]
        ranged = [c for c in every if c.low is not None and c.high is not None][:MOST_BARS]
        axes.bar(
            [c.name for c in ranged],
            [(c.high or 0) - (c.low or 0) for c in ranged],
            bottom=[c.low or 0 for c in ranged],
            color="#4063d8",
        )
        axes.set(title="range by column")
    axes.tick_params(axis="x", rotation=90 if len(axes.patches) > 12 else 0)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    return drawn.getvalue()
