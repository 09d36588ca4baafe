"""Every kind of source materialises through Dagster, or is refused in one sentence."""

import json
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from assets.datasets import build_dataset
from projects.loading import LoadedProject
from projects.schema import Dataset, Project
from resources.datasets.sources import Sources
from resources.datasets.store import DatasetStore
from resources.kubernetes_api.settings import ClusterSettings
from resources.storage.object_store import ObjectStore
from resources.storage.request_logs import RequestLogs

IMAGE = {"image": {"height": 8, "width": 8}, "label": "label"}


@dataclass
class Made:
    """What a materialisation left."""

    refusal: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    """What the checks that failed say, by their names."""

    @property
    def remarks(self):
        records = getattr(self.metadata["remarks"], "records", ())
        return [(r.data["subject"], r.data["action"]) for r in records]


@pytest.fixture
def store(tmp_path):
    return DatasetStore(ObjectStore(str(tmp_path / "objects"), tmp_path / "cache"))


@pytest.fixture
def make(tmp_path, store):
    """Materialises a declared dataset of a project whose folder is that of the test."""
    objects = ObjectStore(str(tmp_path / "objects"), tmp_path / "cache")
    sources = Sources(objects, RequestLogs(tmp_path / "requests", objects))

    def of(declared):
        declaration = Project.model_validate(
            {"project": "birds", "owner": "team:o", "datasets": {"songs": declared}}
        )
        project = LoadedProject(tmp_path / "birds.yaml", declaration, {})
        asset = build_dataset(project, "songs", ClusterSettings())
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize(
                [asset],
                instance=instance,
                resources={"sources": sources, "datasets": store},
                raise_on_error=False,
            )
        return _made(result)

    return of


def _made(result):
    created = Made()
    for event in result.all_events:
        data: Any = event.event_specific_data
        if event.is_step_failure:
            if data.error.cls_name != "DagsterAssetCheckFailedError":
                assert data.user_failure_data, data.error.to_string()
                created.refusal = data.user_failure_data.description
        elif event.event_type_value == "ASSET_MATERIALIZATION":
            created.metadata = {k: v.value for k, v in data.materialization.metadata.items()}
        elif event.event_type_value == "ASSET_CHECK_EVALUATION" and not data.passed:
            created.broken[data.check_name] = data.description
    return created


def csv(text, name="a.csv"):
    def write(folder):
        content = text if isinstance(text, bytes) else text.encode()
        (folder / name).write_bytes(content)

    return write


def rows(line, number=20):
    """Lines of a CSV file under a header `width,height,kind`."""
    return "width,height,kind\n" + "".join(line(i) for i in range(number))


def parquet(**columns):
    def write(folder):
        kind = pa.array([i % 2 for i in range(20)])
        pq.write_table(pa.table({**columns, "kind": kind}), folder / "a.parquet")

    return write


def jsonl(line, name="a.jsonl"):
    def write(folder):
        (folder / name).write_text("".join(json.dumps(line(i)) + "\n" for i in range(20)))

    return write


def pictures(array_of, suffix="png", **save):
    def write(folder):
        for i in range(16):
            file = folder / "pictures" / ("left" if i % 2 else "right") / f"{i}.{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array_of(i)).save(file, **save)

    return write


def half(i, scale=1, kind=np.uint8):
    pixels = np.zeros((16, 16), kind)
    pixels[:, slice(0, 8) if i % 2 else slice(8, 16)] = 200 * scale
    return pixels


def alpha(i):
    layer = np.zeros((16, 16, 4), np.uint8)
    layer[..., 3] = half(i)
    return layer


CSV = {"source": "files:a.csv", "label": "kind"}
PARQUET = {"source": "files:a.parquet", "label": "kind"}
JSON = {"source": "files:a.jsonl", "label": "kind"}
PICTURES = {"source": "images:pictures", **IMAGE}


@pytest.mark.parametrize(
    ("write", "declared", "features", "task", "remarks"),
    [
        (lambda _: None, {"source": "sklearn:wine", "label": "target"}, 13, "classification", []),
        (lambda _: None, {"source": "sklearn:diabetes", "label": "target"}, 10, "regression", []),
        (csv(rows(lambda i: f"{i},1.5,{i % 2}\n")), CSV, 2, "classification", []),
        (
            csv(rows(lambda i: f"{i},1.5,{i % 2}\n").replace(",", ";").replace(".", ",")),
            CSV,
            2,
            "classification",
            [("height", "converted")],
        ),
        (
            csv(rows(lambda i: f"{'n/a?' if i == 7 else i},{i}.5,{i % 2}\n")),
            CSV,
            1,
            "classification",
            [("width", "left_out")],
        ),
        (
            csv(rows(lambda i: f"{i},{'yes' if i % 3 else 'no'},{i % 2}\n")),
            CSV,
            2,
            "classification",
            [("height", "converted")],
        ),
        (
            csv(rows(lambda i: f"{i},,{('Köln', 'Zürich')[i % 2]}\n").encode("cp1252")),
            CSV,
            1,
            "classification",
            [("a.csv", "converted"), ("height", "left_out")],
        ),
        (csv(rows(lambda i: f"{i},1,{i % 2}.0\n")), CSV, 2, "classification", []),
        (csv(rows(lambda i: f"{i},1,{i}.5\n")), CSV, 2, "regression", []),
        (
            csv(rows(lambda i: f"{i},1,SKU-{i % 1200}\n", 4_800)),
            CSV,
            2,
            "classification",
            [],
        ),
        (
            parquet(
                took=pa.array(range(20), pa.duration("us")),
                at=pa.array(range(20), pa.time32("s")),
                half=pa.array(np.arange(20).astype(np.float16)),
                big=pa.array([2**63 + i for i in range(20)], pa.uint64()),
                box=pa.array([{"x": i, "y": i} for i in range(20)]),
                tags=pa.array([["u"]] * 20),
                zone=pa.array(range(20), pa.timestamp("us", "Europe/Berlin")),
            ),
            PARQUET,
            6,
            "classification",
            [
                ("took", "converted"),
                ("at", "converted"),
                ("big", "converted"),
                ("box", "converted"),
                ("tags", "left_out"),
                ("zone", "converted"),
            ],
        ),
        (jsonl(lambda i: {"width": i, "kind": i % 2}), JSON, 1, "classification", []),
        (
            jsonl(lambda i: {"width": i if i < 15 else str(i), "kind": i % 2}),
            JSON,
            1,
            "classification",
            [("width", "converted")],
        ),
        (
            csv(rows(lambda i: f"{i},1.5,{i % 2}\n")),
            {
                "source": "sql:SELECT width, {'x': height} AS box, kind FROM 'a.csv'",
                "label": "kind",
            },
            2,
            "classification",
            [("box", "converted")],
        ),
        (pictures(half), PICTURES, 64, "classification", []),
        (pictures(half, "webp", lossless=True), PICTURES, 64, "classification", []),
        (pictures(lambda i: half(i, 257, np.uint16)), PICTURES, 64, "classification", []),
        (pictures(alpha), PICTURES, 64, "classification", [("pixels", "converted")]),
    ],
)
def test_source_materialises(write, declared, features, task, remarks, make, tmp_path):
    write(tmp_path)

    created = make(declared)

    assert (created.refusal, created.broken) == ("", {})
    assert (created.metadata["features"], created.metadata["task"]) == (features, task)
    assert created.metadata["task_reason"]
    assert created.metadata["source"] == declared["source"]
    assert created.remarks == remarks


@pytest.mark.parametrize(
    ("write", "declared", "message"),
    [
        (csv("width,width,kind\n1,2,a\n"), CSV, "a.csv: columns 1 and 2 are both named 'width'"),
        (csv("size,Size,kind\n1,2,a\n"), CSV, "a.csv: columns 'size' and 'Size' differ only in"),
        (csv("width,kind\n1,a\n2\n"), CSV, "a.csv cannot be read: line 3 has 1 columns"),
        (
            csv("width,kind\n1,a\n"),
            {**CSV, "label": "kin"},
            "files:a.csv: no column 'kin', the declared label; did you mean 'kind'?",
        ),
        (
            csv("width,kind\n1,a\n2,b\n"),
            {**CSV, "task": "regression"},
            "files:a.csv: the label 'kind' is text such as 'a', which no regression predicts",
        ),
        (parquet(tags=pa.array([["u"]] * 20)), {**PARQUET, "label": "tags"}, "are no features"),
        (jsonl(lambda i: i), JSON, "a.jsonl cannot be read: it holds JSON that is no object"),
        (pictures(lambda i: half(i, kind=np.float32), "tiff"), PICTURES, "of mode F from 0 to 200"),
        (lambda _: None, {"source": "files:absent.csv"}, "no file matches"),
    ],
)
def test_source_is_refused_in_one_sentence(write, declared, message, make, tmp_path):
    write(tmp_path)

    created = make(declared)

    assert message in created.refusal
    assert "\n" not in created.refusal


@pytest.mark.parametrize(
    ("text", "declared", "check", "message"),
    [
        (
            rows(lambda i: f"{i},1,{'nan' if i == 3 else i + 0.5}\n"),
            CSV,
            "labels_are_usable",
            "1 rows have no kind",
        ),
        (
            rows(lambda i: f"{i},1,{'' if i == 3 else i + 0.5}\n"),
            CSV,
            "labels_are_usable",
            "1 rows have no kind",
        ),
        (rows(lambda i: f"{i},1,a\n"), CSV, "labels_are_usable", "only one class ['a'] in kind"),
        (
            rows(lambda i: f"{i},1,{'ab'[i]}\n", 2),
            CSV,
            "splits_are_whole",
            "train: 2 rows, test: 0 rows; expected rows in both",
        ),
        (
            rows(lambda i: f"{i},1,{'rare' if i == 0 else i % 2}\n"),
            CSV,
            "splits_are_whole",
            "the test split has no row of rare",
        ),
        (
            rows(lambda i: f"{'n/a?' if i == 7 else i},1,{i % 2}\n"),
            {**CSV, "expect": {"complete": True}},
            "nothing_is_left_out",
            "width: left out, 1 (such as 'n/a?', line 9 of a.csv)",
        ),
    ],
)
def test_rows_that_nothing_can_learn_from_break_a_check(
    text, declared, check, message, make, tmp_path
):
    (tmp_path / "a.csv").write_text(text)

    created = make(declared)

    assert message in created.broken[check]


def test_wide_table_shows_a_hundred_columns_and_counts_the_others(make, tmp_path):
    names = [f"f{i}" for i in range(1_500)]
    lines = [",".join([*map(str, range(1_500)), str(i % 2)]) for i in range(20)]
    (tmp_path / "a.csv").write_text("\n".join([",".join([*names, "kind"]), *lines]) + "\n")

    created = make(CSV)

    assert len(created.metadata["profile"].records) == 100
    assert (created.metadata["columns"], created.metadata["columns_not_shown"]) == (1_501, 1_401)


def test_pixels_are_one_row_of_the_profile(make, tmp_path):
    pictures(half)(tmp_path)

    created = make({**PICTURES, "image": {"height": 64, "width": 64}})

    names = [record.data["column"] for record in created.metadata["profile"].records]
    assert "pixel_0 ... pixel_4095" in names
    assert len(names) == 5


def test_request_log_materialises_without_its_bookkeeping(tmp_path, store):
    log = tmp_path / "requests" / "birds.singer-api" / "1.jsonl"
    log.parent.mkdir(parents=True)
    entries = [
        {"at": float(i), "model_version": 1, "prediction": i % 2, "inputs": [i, 0.5]}
        for i in range(20)
    ]
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    objects = ObjectStore(str(tmp_path / "objects"), tmp_path / "cache")
    declared = Dataset(source="requests:singer-api", label="prediction")

    read = Sources(objects, RequestLogs(tmp_path / "requests", objects)).read(
        "birds", declared, tmp_path
    )

    assert store.write("birds", "asked", declared, read).features == ["input_0", "input_1"]
