// npm flagsmith (the browser SDK), against URL CLIENT_KEY, with the little of a browser that it needs.
// What the flags are is in publication.json.

const assert = require('node:assert/strict');
const { createRequire } = require('node:module');
const { check, crowd, finish, recordingFetch, run } = require('./checks.cjs');

const [url, clientKey] = process.argv.slice(2);
const api = `${url}/api/v1/`;

// The SDK counts evaluations only where there is browser storage.
const stored = new Map();
globalThis.window = globalThis;
globalThis.localStorage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => void stored.set(key, value),
};
const installed = createRequire(`${process.env.CLIENTS_INSTALLED}/`);
const { createFlagsmithInstance } = installed('flagsmith/isomorphic');

async function started(options) {
  const client = createFlagsmithInstance();
  await client.init({ environmentID: clientKey, api, fetch, ...options });
  return client;
}

async function main() {
  await check('environment flags', async () => {
    const client = await started();
    assert.equal(client.hasFeature('banner'), true);
    assert.equal(client.getValue('banner'), 'welcome');
    assert.equal(client.hasFeature('dark_mode'), false);
    assert.equal(client.getValue('max_items'), 42);
    assert.equal(client.getValue('beta_program'), true);
    assert.equal(client.getValue('button_colour'), 'grey');
    assert.equal(client.getValue('greeting'), 'gr\u00fc\u00dfe \u2615');
    assert.equal(client.hasFeature('retired'), false);
    assert.ok(!('server_secret' in client.getAllFlags()));
  });

  await check('identify with traits: segments', async () => {
    const client = await started();
    const traits = { plan: 'enterprise', age: 21, email: 'ann@example.com' };
    await client.identify(`js-segments-${run}`, traits);
    assert.equal(client.getValue('banner'), 'welcome, enterprise');
    assert.equal(client.hasFeature('dark_mode'), true);
    assert.equal(client.getValue('greeting'), 'hello, colleague');
    assert.deepEqual(client.getAllTraits(), traits);
  });

  await check('identify without traits: stored ones come back', async () => {
    const identity = `js-kept-${run}`;
    const first = await started({ identity, traits: { plan: 'enterprise', visits: 3, ratio: 0.5, paid: true } });
    assert.equal(first.getValue('banner'), 'welcome, enterprise');
    const second = await started({ identity });
    assert.equal(second.getValue('banner'), 'welcome, enterprise');
    assert.deepEqual(second.getAllTraits(), { plan: 'enterprise', visits: 3, ratio: 0.5, paid: true });
    await second.setTrait('plan', 'free');
    assert.equal(second.getValue('banner'), 'welcome');
    assert.equal((await started({ identity })).getTrait('plan'), 'free');
  });

  await check('identity override', async () => {
    const client = await started({ identity: 'vip' });
    assert.equal(client.getValue('banner'), 'welcome, vip');
  });

  await check('an anonymous identity gets an identifier and its traits count', async () => {
    const client = await started({ traits: { plan: 'enterprise' } });
    assert.equal(client.getValue('banner'), 'welcome, enterprise');
    assert.match(client.getContext().identity.identifier, /^[0-9a-f]{32,64}$/);
  });

  await check('a transient identity is not stored', async () => {
    const client = await started();
    const identity = `js-transient-${run}`;
    await client.identify(identity, { plan: 'enterprise' }, true);
    assert.equal(client.getValue('banner'), 'welcome, enterprise');
    assert.equal((await started({ identity })).getValue('banner'), 'welcome');
  });

  await check('variants: each identity keeps its own', async () => {
    const colours = new Set();
    for (const { identifier, traits } of crowd(`js-${run}`)) {
      const posted = await started({ identity: identifier, traits });
      const fetched = await started({ identity: identifier });
      assert.equal(posted.getValue('button_colour'), fetched.getValue('button_colour'));
      colours.add(posted.getValue('button_colour'));
    }
    for (const colour of colours) assert.ok(['grey', '#00ff00', '#0000ff'].includes(colour), colour);
    assert.ok(colours.size > 1, [...colours].join());
  });

  await check('analytics are accepted', async () => {
    const { answers, fetch } = recordingFetch();
    const client = await started({ fetch, enableAnalytics: true });
    client.hasFeature('banner');
    await client.analyticsFlags();
    assert.deepEqual(answers.at(-1), { path: '/api/v1/analytics/flags/', status: 200 });
  });

  await check('a wrong key is an error', async () => {
    // What the SDK rejects with does not tell why.
    for (const identity of [undefined, 'ann']) {
      const { answers, fetch } = recordingFetch();
      await assert.rejects(started({ environmentID: `unknown-${run}`, identity, fetch }));
      assert.deepEqual(answers.map((answer) => answer.status), [403]);
    }
  });
}

main().then(finish);
