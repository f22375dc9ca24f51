"""Logs a run of awkward values with the official SDK.

Usage: log_run.py ENTITY PROJECT RUN_ID
"""

import sys

import numpy
import wandb


def main() -> None:
    entity, project, run_id = sys.argv[1:]
    run = wandb.init(
        entity=entity,
        project=project,
        id=run_id,
        name="logged-run ünï",
        group="g",
        job_type="train",
        notes="n",
        tags=["a", "b"],
        config={"lr": 0.1, "nested": {"a": {"b": 1}}, "text": "ü🦊", "list": [1, 2.5, None]},
    )
    run.log({"loss": 1, "nested": {"x": 1, "y": {"z": 2}}})
    run.log({"loss": float("nan"), "s": "stríng 🦊", "b": True})
    run.log({"loss": float("inf"), "neg": float("-inf")})
    run.log({"hist": wandb.Histogram(np_histogram=([1, 2, 3], [0, 1, 2, 3])), "big": 2**53 + 1})
    run.log({"img": wandb.Image(numpy.zeros((4, 4, 3), dtype=numpy.uint8), caption="c")})
    run.log({"np32": numpy.float32(0.1), "np64": numpy.float64(0.1), "list": [1, 2, 3]})
    run.log({"a.b": 1, "a/b": 2, "none": None})
    run.log({"late": 1}, step=1000)
    run.log({"html": wandb.Html("<b>x</b>"), "last": 0.5}, step=2**31)
    run.finish()


if __name__ == "__main__":
    main()
