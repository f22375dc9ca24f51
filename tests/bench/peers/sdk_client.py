"""The peer of the `graphql` rows: the official SDK, `scan_history` of every run, storing nothing.

Usage: sdk_client.py ENTITY PROJECT    (the server and the key come from WANDB_BASE_URL and WANDB_API_KEY)
"""

import sys

import wandb


def main(entity, project):
    rows = 0
    for run in wandb.Api(timeout=60).runs(f"{entity}/{project}", per_page=200):
        for _ in run.scan_history(page_size=1000):
            rows += 1
    print(rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
