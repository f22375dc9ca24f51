"""Reads every data set of a `parquet:DIR` destination with DuckDB, pandas, pyarrow and Polars, as their users would,
and fails when they disagree or when a type is not what the README promises.

    pip install duckdb pandas polars pyarrow && python read.py DIR
"""

import pathlib
import sys

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.dataset

TYPES = {
    "metrics": {
        "run_id": pa.string(),
        "step": pa.int64(),
        "metric_name": pa.string(),
        "metric_value": pa.float64(),
        "timestamp": pa.timestamp("us", "UTC"),
    },
    "metric_objects": {"value_json": pa.string(), "step": pa.int64()},
    "runs": {"run_id": pa.string(), "created_at": pa.timestamp("us", "UTC"), "config_json": pa.string()},
}
KEYS = {"runs": ["run_id"]}


def read(folder: pathlib.Path) -> int:
    table = folder.name
    files = f"{folder}/*.parquet"
    key = KEYS.get(table, ["run_id", "step", "metric_name"])
    dataset = pyarrow.dataset.dataset(str(folder)).to_table()
    for name, kind in {**TYPES.get(table, {}), "_synced_at": pa.timestamp("us", "UTC")}.items():
        actual = dataset.schema.field(name).type
        assert actual == kind, f"{table}.{name} is {actual}, not {kind}"
    columns = dataset.column_names
    nulls = [dataset[name].null_count for name in columns]
    counted = ", ".join(f'count(*) - count("{name}")' for name in columns)
    rows, distinct, *of_duckdb = duckdb.sql(
        f"SELECT count(*), count(DISTINCT ({', '.join(key)})), {counted} FROM read_parquet('{files}')"
    ).fetchall()[0]
    assert rows == distinct, f"{table}: {rows - distinct} rows are there twice"
    lazy = polars.scan_parquet(files).collect()
    frame = pandas.read_parquet(folder, dtype_backend="pyarrow")
    assert rows == dataset.num_rows == lazy.height == len(frame), table
    assert of_duckdb == nulls, f"{table}: nulls {of_duckdb} in DuckDB, {nulls} in pyarrow"
    assert [lazy[name].null_count() for name in columns] == nulls, f"{table}: nulls in Polars"
    if table == "metrics":
        # NaN is a value and no null.
        of_polars = lazy["metric_value"].is_nan().sum()
        ((of_duckdb,),) = duckdb.sql(f"SELECT count(*) FROM '{files}' WHERE isnan(metric_value)").fetchall()
        assert of_polars == of_duckdb, f"{of_polars} NaN in Polars, {of_duckdb} in DuckDB"
    return rows


def main() -> None:
    root = pathlib.Path(sys.argv[1])
    for folder in sorted(root.iterdir()):
        if not folder.name.startswith("_"):
            print(f"{folder.name}: {read(folder)} rows")


main()
