"""Lets time pass in the local W&B server's project: `change.py URL ENTITY PROJECT`."""

import json
import sys
import urllib.request

CHANGE = {"grow": 25, "finish": 1, "edit": 2, "add": 1}


def main():
    url, entity, project = sys.argv[1:]
    mutation = {"op": "live", "entity": entity, "project": project, "seed": 7, **CHANGE}
    request = urllib.request.Request(
        url.rstrip("/") + "/_control/mutate",
        data=json.dumps(mutation).encode(),
        headers={"content-type": "application/json"},
    )
    # No proxy stands between us and our own server.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as response:
        changed = json.load(response)["changed"]
    print(
        "each running run logged {grow} more steps, {finish} of them finished, {edit} finished runs were renamed, "
        "{add} run started".format(**CHANGE)
    )
    print(f"{len(changed) if isinstance(changed, list) else changed} runs are not what they were")


if __name__ == "__main__":
    main()
