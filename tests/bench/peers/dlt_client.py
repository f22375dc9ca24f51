"""A peer of the `rest` rows: dlt's REST source into its DuckDB destination, set up as its documentation says.

Usage: dlt_client.py BASE_URL KEY ENTITY PROJECT PAGE_SIZE    (writes below the current directory)
"""

import sys

import dlt
from dlt.sources.rest_api import rest_api_source


def main(base, key, entity, project, page_size):
    pages = {"type": "json_link", "next_url_path": "nextUrl"}
    source = rest_api_source(
        {
            "client": {"base_url": base, "auth": {"type": "bearer", "token": key}, "paginator": pages},
            "resource_defaults": {"write_disposition": "merge"},
            "resources": [
                {
                    "name": "runs",
                    "primary_key": "id",
                    "endpoint": {
                        "path": f"projects/{entity}/{project}/runs",
                        "params": {"perPage": int(page_size)},
                        "data_selector": "runs",
                    },
                    # As columns of their own they would make hundreds.
                    "max_table_nesting": 0,
                },
                {
                    "name": "history",
                    "primary_key": ["_runs_id", "_step"],
                    "endpoint": {
                        "path": f"runs/{entity}/{project}/{{resources.runs.id}}/history",
                        "params": {"perPage": int(page_size)},
                        "data_selector": "history",
                    },
                    "include_from_parent": ["id"],
                },
            ],
        },
        max_table_nesting=0,
        parallelized=True,
    )
    pipeline = dlt.pipeline("wandb", destination=dlt.destinations.duckdb("peer.duckdb"), dataset_name="wandb", pipelines_dir="state")
    info = pipeline.run(source)
    info.raise_on_failed_jobs()
    with pipeline.sql_client() as client:
        print(client.execute_sql("SELECT count(*) FROM history")[0][0])


if __name__ == "__main__":
    main(*sys.argv[1:])
