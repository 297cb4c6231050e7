"""PyPI flagsmith with real-time updates, against every edge of STATE_FILE (scripts/lib/seed.mjs): a change made in
the admin API is evaluated locally within a second."""

import json
import logging
import sys
import time
import traceback

import requests
from flagsmith import Flagsmith

LIMIT = 1.0
ROUNDS = 3
with open(sys.argv[1]) as file:
    state = json.load(file)
passed = failed = 0


def change(enabled):
    path = f"/api/v1/environments/{state['environment_key']}/featurestates/{state['feature_state']}/"
    answer = requests.patch(
        state["admin"] + path,
        json={"enabled": enabled},
        headers={"Authorization": f"Token {state['token']}"},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text


def listens(name, url):
    client = Flagsmith(
        environment_key=state["server_key"],
        api_url=f"{url}/api/v1/",
        realtime_api_url=f"{url}/",
        enable_local_evaluation=True,
        enable_realtime_updates=True,
    )
    is_on = lambda: client.get_environment_flags().is_feature_enabled(state["feature"])
    # The stream of a connection that is still being opened may tell of the change before it.
    time.sleep(0.5)
    took = []
    for _ in range(ROUNDS):
        enabled = not is_on()
        change(enabled)
        begun = time.monotonic()
        while is_on() != enabled and time.monotonic() < begun + 5:
            time.sleep(0.001)
        assert is_on() == enabled, "the SDK did not hear of the change"
        took.append(time.monotonic() - begun)
    shown = ", ".join(f"{seconds * 1000:.0f}" for seconds in took)
    print(f"{name}: in the SDK {shown} ms after the answer to the change")
    assert max(took) < LIMIT, took


logging.getLogger("flagsmith").setLevel(logging.CRITICAL)
for edge in state["edges"]:
    with requests.get(
        f"{edge['url']}/sse/environments/{state['environment_key']}/stream",
        stream=True,
        timeout=10,
    ) as stream:
        if stream.status_code == 404:
            continue
    try:
        listens(edge["name"], edge["url"])
        passed += 1
    except Exception:
        failed += 1
        print(f"FAILED {edge['name']}: {traceback.format_exc()}")
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
