"""Reads a project with the official SDK and prints what it got, one JSON object for each run.

Usage: read_project.py ENTITY/PROJECT
"""

import json
import sys

import wandb


def main() -> None:
    api = wandb.Api(timeout=30)
    for run in api.runs(sys.argv[1], per_page=7, order="+created_at", lazy=False):
        print(
            json.dumps(
                {
                    "id": run.id,
                    "name": run.name,
                    "state": run.state,
                    "user": run.user.username if run.user else None,
                    "created_at": run.created_at,
                    "tags": run.tags,
                    "config": run.config,
                    "summary": run.summary_metrics,
                    "last_step": run.lastHistoryStep,
                    "scanned": list(run.scan_history(page_size=1000)),
                    "scanned_loss": list(run.scan_history(keys=["loss"])),
                    "sampled": run.history(samples=10, pandas=False),
                }
            )
        )


if __name__ == "__main__":
    main()
