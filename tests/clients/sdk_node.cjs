// npm flagsmith-nodejs, remote and local evaluation, against URL CLIENT_KEY SERVER_KEY.
// What the flags are is in publication.json.

const assert = require('node:assert/strict');
const { createRequire } = require('node:module');
const { check, crowd, finish, recordingFetch, run } = require('./checks.cjs');

const [url, clientKey, serverKey] = process.argv.slice(2);
const installed = createRequire(`${process.env.CLIENTS_INSTALLED}/`);
const { Flagsmith, FlagsmithAPIError } = installed('flagsmith-nodejs');
const apiUrl = `${url}/api/v1/`;

const silent = { level: 'silent', child: () => silent };
for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal']) silent[level] = () => {};

const remote = (options) => new Flagsmith({ environmentKey: clientKey, apiUrl, logger: silent, ...options });
const local = () => remote({ environmentKey: serverKey, enableLocalEvaluation: true });
// Remotely the SDK gives `undefined` for a value that is null, locally null.
const seen = (flags, name) => {
  const { enabled, value } = flags.getFlag(name);
  return { enabled, value: value ?? null };
};

async function main() {
  for (const [mode, client] of [['remote', remote()], ['local', local()]]) {
    await check(`${mode}: environment flags`, async () => {
      const flags = await client.getEnvironmentFlags();
      assert.deepEqual(seen(flags, 'banner'), { enabled: true, value: 'welcome' });
      assert.deepEqual(seen(flags, 'dark_mode'), { enabled: false, value: null });
      assert.deepEqual(seen(flags, 'max_items'), { enabled: true, value: 42 });
      assert.deepEqual(seen(flags, 'beta_program'), { enabled: true, value: true });
      assert.deepEqual(seen(flags, 'checkout'), { enabled: true, value: 'old' });
      assert.deepEqual(seen(flags, 'button_colour'), { enabled: true, value: 'grey' });
      assert.deepEqual(seen(flags, 'greeting'), { enabled: true, value: 'gr\u00fc\u00dfe \u2615' });
      assert.deepEqual(seen(flags, 'retired'), { enabled: false, value: 'still has a value' });
      assert.equal(flags.getFlag('banner').featureId, 1);
    });
    await check(`${mode}: segments`, async () => {
      const flags = await client.getIdentityFlags(`segments-${run}`, {
        plan: 'enterprise',
        age: 21,
        email: 'ann@example.com',
      });
      assert.equal(flags.getFeatureValue('banner'), 'welcome, enterprise');
      assert.equal(flags.isFeatureEnabled('dark_mode'), true);
      assert.equal(flags.getFeatureValue('greeting'), 'hello, colleague');
      const nobody = await client.getIdentityFlags(`nobody-${run}`, { plan: 'free', age: 20 });
      assert.equal(nobody.getFeatureValue('banner'), 'welcome');
      assert.equal(nobody.isFeatureEnabled('dark_mode'), false);
    });
    await check(`${mode}: identity override`, async () => {
      const flags = await client.getIdentityFlags('vip', { plan: 'enterprise' });
      assert.equal(flags.getFeatureValue('banner'), 'welcome, vip');
    });
    await client.close();
  }

  await check('remote: a client key does not see server-only features, a server key does', async () => {
    const hidden = await remote().getEnvironmentFlags();
    assert.ok(!hidden.allFlags().some((flag) => flag.featureName === 'server_secret'));
    const hiddenToo = await remote().getIdentityFlags(`keys-${run}`, {});
    assert.ok(!hiddenToo.allFlags().some((flag) => flag.featureName === 'server_secret'));
    const shown = await remote({ environmentKey: serverKey }).getEnvironmentFlags();
    assert.equal(shown.getFeatureValue('server_secret'), 'for servers only');
  });

  await check('remote: traits persist, transient ones do not, null deletes', async () => {
    const client = remote();
    const banner = async (identifier, traits) =>
      (await client.getIdentityFlags(identifier, traits)).getFeatureValue('banner');
    const kept = `kept-${run}`;
    assert.equal(await banner(kept, { plan: 'enterprise' }), 'welcome, enterprise');
    assert.equal(await banner(kept), 'welcome, enterprise');
    assert.equal(await banner(kept, { plan: null }), 'welcome');
    assert.equal(await banner(kept), 'welcome');
    const passing = `passing-${run}`;
    const transient = { plan: { value: 'enterprise', transient: true } };
    assert.equal(await banner(passing, transient), 'welcome, enterprise');
    assert.equal(await banner(passing), 'welcome');
  });

  await check('remote: a transient identity is not stored', async () => {
    const client = remote();
    const identifier = `transient-${run}`;
    const first = await client.getIdentityFlags(identifier, { plan: 'enterprise' }, true);
    assert.equal(first.getFeatureValue('banner'), 'welcome, enterprise');
    const second = await client.getIdentityFlags(identifier, {});
    assert.equal(second.getFeatureValue('banner'), 'welcome');
  });

  await check('remote equals local for 24 identities, and variants differ among them', async () => {
    const near = local();
    const far = remote({ environmentKey: serverKey });
    const colours = new Set();
    const checkouts = new Set();
    for (const { identifier, traits } of crowd(run)) {
      const [here, there] = await Promise.all([
        near.getIdentityFlags(identifier, traits),
        far.getIdentityFlags(identifier, traits),
      ]);
      const names = here.allFlags().map((flag) => flag.featureName);
      assert.deepEqual(names.sort(), there.allFlags().map((flag) => flag.featureName).sort());
      for (const name of names) assert.deepEqual(seen(there, name), seen(here, name), `${identifier} ${name}`);
      colours.add(there.getFeatureValue('button_colour'));
      checkouts.add(there.getFeatureValue('checkout'));
    }
    for (const colour of colours) assert.ok(['grey', '#00ff00', '#0000ff'].includes(colour), colour);
    assert.ok(colours.size > 1 && checkouts.size === 2, [...colours, ...checkouts].join());
    await near.close();
  });

  await check('analytics are accepted', async () => {
    const { answers, fetch } = recordingFetch();
    // The SDK posts analytics with the global fetch, whatever it was given for the rest.
    const usual = globalThis.fetch;
    globalThis.fetch = fetch;
    const client = remote({ enableAnalytics: true });
    globalThis.fetch = usual;
    (await client.getEnvironmentFlags()).isFeatureEnabled('banner');
    await client.analyticsProcessor.flush();
    assert.deepEqual(answers.at(-1), { path: '/api/v1/analytics/flags/', status: 200 });
  });

  await check('a wrong key is an API error', async () => {
    const client = remote({ environmentKey: `unknown-${run}` });
    const refused = (error) => error.cause instanceof FlagsmithAPIError && /403/.test(error.cause.message);
    await assert.rejects(client.getEnvironmentFlags(), refused);
    await assert.rejects(client.getIdentityFlags('ann'), refused);
    const server = remote({ environmentKey: `ser.unknown-${run}`, enableLocalEvaluation: true });
    await assert.rejects(server.getEnvironmentFlags());
  });
}

main().then(finish);
