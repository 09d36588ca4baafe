"""Tables as people have them: numbers, categories, text, dates, booleans and missing values."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from projects.schema import Dataset
from resources.datasets.store import DatasetStore
from resources.storage.object_store import ObjectStore
from training.contract import DatasetFiles

KEPT = set(DatasetFiles.model_fields)
ROWS = 400


def wine(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """A made-up cellar: the grape decides sugar, region and words, and some values are missing."""
    generator = np.random.default_rng(seed)
    grape = generator.integers(0, 3, rows)
    words = (("tannic", "Deep", "tar"), ("light", "Fresh", "tart"), ("plum", "juicy", "Élan"))
    regions = ("north", "south", "east")
    sugar = grape * 2.0 + generator.normal(size=rows)
    sugar[generator.random(rows) < 0.1] = np.nan
    region = [
        regions[g] if generator.random() < 0.7 else regions[generator.integers(3)] for g in grape
    ]
    return pa.table(
        {
            "sugar (g/l)": sugar,
            "year": generator.integers(1990, 2020, rows),
            "region": [None if generator.random() < 0.05 else each for each in region],
            "note": [
                " ".join(generator.choice(words[g], 2)) + f" {i}" for i, g in enumerate(grape)
            ],
            "organic": generator.random(rows) < 0.5,
            "bottled": pa.array(
                np.datetime64("2020-01-01") + generator.integers(0, 900, rows), pa.date32()
            ),
            "grape": [("barolo", "grignolino", "barbera")[g] for g in grape],
            "price": sugar_price(sugar, grape, generator),
        }
    )


def opinions(rows: int, seed: int = 0) -> pa.Table:
    """Made-up reviews: words of praise or blame among words that say nothing."""
    generator = np.random.default_rng(seed)
    telling = {
        "good": ["great", "lovely", "superb", "clever", "warm", "delight"],
        "bad": ["dull", "awful", "boring", "waste", "weak", "cold"],
    }
    filling = ["the", "film", "plot", "actor", "scene", "music", "was", "with", "very", "of"]
    labels = generator.choice(["good", "bad"], rows)
    texts = [
        " ".join(generator.permutation([*generator.choice(telling[each], 3), *filling]))
        for each in labels
    ]
    return pa.table({"text": texts, "opinion": labels.tolist()})


def questions(rows: int, seed: int = 0) -> pa.Table:
    """Made-up questions of animals, whose answers follow from one word of each."""
    generator = np.random.default_rng(seed)
    says = {"cow": "moo loud", "cat": "meow soft", "dog": "woof loud", "owl": "hoot soft"}
    animals = generator.choice(list(says), rows)
    asked = [
        " ".join([*generator.choice(["what", "how", "please"], 2), "says", "the", each])
        for each in animals
    ]
    return pa.table({"question": asked, "answer": [says[each] for each in animals]})


def sugar_price(sugar: np.ndarray, grape: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A number that depends on the columns."""
    return 10 + 3 * grape + np.nan_to_num(sugar) + generator.normal(scale=0.2, size=len(grape))


def files_of(table: pa.Table, label: str, folder: Path, **declared: object) -> DatasetFiles:
    """A dataset version of the table."""
    store = DatasetStore(ObjectStore(str(folder / "objects"), folder / "cache"))
    dataset = Dataset.model_validate({"source": "files:wine.csv", "label": label, **declared})
    version = store.write("cellar", "wine", dataset, table)
    return DatasetFiles(**version.model_dump(include=KEPT))


def forest_of(rows: pd.DataFrame, label: str, drop: Sequence[str] = ()) -> Pipeline:
    """A fitted pipeline as a data scientist has one: steps by column name, missing values and
    categories."""
    features = rows.drop(columns=[label, *drop])
    is_text = [pd.api.types.is_string_dtype(kind) for kind in features.dtypes]
    texts = [name for name, is_one in zip(features.columns, is_text, strict=True) if is_one]
    numbers = [name for name in features.columns if name not in texts]
    steps = ColumnTransformer(
        [
            ("numbers", SimpleImputer(), numbers),
            ("texts", OneHotEncoder(handle_unknown="ignore"), texts),
        ]
    )
    model = make_pipeline(steps, RandomForestClassifier(20, random_state=0))
    filled = {name: features[name].fillna("") for name in texts}
    return model.fit(features.assign(**filled), rows[label])
