// npm @openfeature/ofrep-provider, unmodified, against URL CLIENT_KEY SERVER_KEY.
// What the flags are is in publication.json.

const assert = require('node:assert/strict');
const { createRequire } = require('node:module');
const { check, crowd, finish, run } = require('./checks.cjs');

const [url, clientKey, serverKey] = process.argv.slice(2);
const installed = createRequire(`${process.env.CLIENTS_INSTALLED}/`);
const { OpenFeature } = installed('@openfeature/server-sdk');
const { OFREPProvider } = installed('@openfeature/ofrep-provider');

let domains = 0;
/** An OpenFeature client of its own. */
const client = async (headers) => {
  const domain = `domain-${(domains += 1)}`;
  await OpenFeature.setProviderAndWait(domain, new OFREPProvider({ baseUrl: url, headers }));
  return OpenFeature.getClient(domain);
};
const person = (name, attributes) => ({ targetingKey: `${name}-${run}`, ...attributes });

async function main() {
  const near = await client([['X-API-Key', clientKey]]);

  await check('values of every type', async () => {
    const ann = person('ofrep-ann');
    assert.equal(await near.getStringValue('banner', 'x', ann), 'welcome');
    assert.equal(await near.getStringValue('greeting', 'x', ann), 'gr\u00fc\u00dfe \u2615');
    assert.equal(await near.getNumberValue('max_items', 1, ann), 42);
    assert.equal(await near.getBooleanValue('beta_program', false, ann), true);
    assert.equal(await near.getBooleanValue('dark_mode', true, ann), false);
    assert.deepEqual(await near.getObjectValue('layout', {}, ann), { columns: 3, sidebar: true });
  });

  await check('a flag that is off gives the default of the application', async () => {
    assert.equal(await near.getStringValue('retired', 'my own', person('ofrep-ann')), 'my own');
  });

  await check('reasons, variants, metadata', async () => {
    const details = (flag, context) => near.getStringDetails(flag, 'x', context);
    const staff = await details('banner', person('ofrep-eva', { plan: 'enterprise' }));
    assert.equal(staff.value, 'welcome, enterprise');
    assert.equal(staff.reason, 'TARGETING_MATCH');
    assert.deepEqual(staff.flagMetadata, { enabled: true, featureId: 1 });
    const vip = await details('banner', { targetingKey: 'vip' });
    assert.deepEqual([vip.value, vip.reason], ['welcome, vip', 'TARGETING_MATCH']);
    const split = await details('button_colour', person('ofrep-ann'));
    assert.equal(split.reason, 'SPLIT');
    const colours = { control: 'grey', green: '#00ff00', blue: '#0000ff' };
    assert.equal(split.value, colours[split.variant]);
    const off = await near.getBooleanDetails('dark_mode', true, person('ofrep-ann'));
    assert.deepEqual([off.value, off.reason, off.variant], [false, 'DISABLED', 'disabled']);
    const plain = await near.getNumberDetails('max_items', 1, person('ofrep-ann'));
    assert.deepEqual([plain.reason, plain.variant], ['STATIC', 'enabled']);
  });

  await check('a crowd gets what Flagsmith\'s own protocol gives it', async () => {
    for (const { identifier, traits } of crowd(`ofrep-${run}`)) {
      const answer = await fetch(`${url}/api/v1/identities/`, {
        method: 'POST',
        headers: { 'X-Environment-Key': clientKey, 'Content-Type': 'application/json' },
        body: JSON.stringify({
          identifier,
          transient: true,
          traits: Object.entries(traits).map(([trait_key, trait_value]) => ({ trait_key, trait_value })),
        }),
      });
      const { flags } = await answer.json();
      for (const flag of ['banner', 'greeting', 'button_colour', 'checkout']) {
        const expected = flags.find(({ feature }) => feature.name === flag).feature_state_value;
        const value = await near.getStringValue(flag, 'x', { targetingKey: identifier, ...traits });
        assert.equal(value, expected, `${identifier} ${flag}`);
      }
    }
  });

  await check('errors', async () => {
    const code = async (from, flag, context) =>
      (await from.getStringDetails(flag, 'x', context ?? person('ofrep-ann'))).errorCode;
    assert.equal(await code(near, 'no_such_flag'), 'FLAG_NOT_FOUND');
    assert.equal(await code(near, 'server_secret'), 'FLAG_NOT_FOUND');
    assert.equal(await code(near, 'max_items'), 'TYPE_MISMATCH');
    assert.equal(await code(near, 'banner', { targetingKey: '' }), 'TARGETING_KEY_MISSING');
    assert.equal(await code(near, 'banner', { bio: 'x'.repeat(2001) }), 'INVALID_CONTEXT');
    const stranger = await client([['X-API-Key', `nobody-${run}`]]);
    assert.equal(await code(stranger, 'banner'), 'GENERAL');
  });

  await check('a server-side key as a bearer token', async () => {
    const server = await client([['Authorization', `Bearer ${serverKey}`]]);
    assert.equal(await server.getStringValue('server_secret', 'x', person('ofrep-ann')), 'for servers only');
  });
}

main().then(finish);
