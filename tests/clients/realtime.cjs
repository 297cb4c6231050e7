// npm flagsmith (the browser SDK) with `realtime`, against every edge of STATE_FILE (scripts/lib/seed.mjs): a change
// made in the admin API is in the SDK within a second, and costs one request.

const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { check, finish, run } = require('./checks.cjs');

const LIMIT_MS = 1_000;
const ROUNDS = 3;
// Beyond the last repetition of an event.
const QUIET_MS = 7_000;
const state = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const installed = createRequire(`${process.env.CLIENTS_INSTALLED}/`);
// What a browser has of its own.
globalThis.window = globalThis;
globalThis.EventSource = installed('eventsource').EventSource;
const { createFlagsmithInstance } = installed('flagsmith/isomorphic');

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function change(enabled) {
  const path = `/api/v1/environments/${state.environment_key}/featurestates/${state.feature_state}/`;
  const answer = await fetch(state.admin + path, {
    method: 'PATCH',
    headers: { Authorization: `Token ${state.token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ enabled }),
  });
  assert.equal(answer.status, 200, await answer.text());
}

// All instances of the SDK ask with the function that the last one was given.
const asked = [];
const recording = (input, init) => {
  asked.push(String(input).replace(/\?.*/, ''));
  return fetch(input, init);
};

/** An SDK that listens. */
async function listening(url, options) {
  const client = createFlagsmithInstance();
  const init = { environmentID: state.environment_key, api: `${url}/api/v1/`, fetch: recording };
  await client.init({ ...init, realtime: true, eventSourceUrl: `${url}/`, ...options });
  const shows = async (enabled) => {
    const end = performance.now() + 5_000;
    while (client.hasFeature(state.feature) !== enabled && performance.now() < end) await pause(1);
    assert.equal(client.hasFeature(state.feature), enabled);
  };
  return { client, shows };
}

async function main() {
  for (const { name, url } of state.edges) {
    const stream = await fetch(`${url}/sse/environments/${state.environment_key}/stream`);
    if (stream.status === 404) {
      await check(`${name}: says why there is no stream`, async () => {
        assert.match((await stream.json()).detail, /no event streams/);
      });
      continue;
    }
    await stream.body.cancel();
    await check(`${name}: a change is in the SDK within a second`, async () => {
      const listeners = [await listening(url), await listening(url, { identity: `realtime-${run}`, traits: { a: 1 } })];
      // The stream of a connection that is still being opened may tell of the change before it.
      await pause(500);
      const paths = ['flags/', 'identities/'].map((path) => `${url}/api/v1/${path}`);
      const counts = () => paths.map((path) => asked.filter((url) => url === path).length);
      const before = counts();
      const took = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        const enabled = !listeners[0].client.hasFeature(state.feature);
        await change(enabled);
        const from = performance.now();
        await Promise.all(listeners.map(({ shows }) => shows(enabled)));
        took.push(performance.now() - from);
      }
      console.log(`${name}: in the SDK ${took.map((ms) => ms.toFixed(0)).join(', ')} ms after the answer to the change`);
      assert.ok(Math.max(...took) < LIMIT_MS, took.join());
      await pause(QUIET_MS);
      const since = counts().map((count, at) => count - before[at]);
      assert.deepEqual(since, [ROUNDS, ROUNDS], 'one request a change, whatever is repeated');
    });
  }
}

main().then(finish);
