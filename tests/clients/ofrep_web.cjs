// npm @openfeature/ofrep-web-provider, unmodified, against URL CLIENT_KEY SERVER_KEY.
// What the flags are is in publication.json.

const assert = require('node:assert/strict');
const { createRequire } = require('node:module');
const { check, finish, run } = require('./checks.cjs');

const [url, clientKey] = process.argv.slice(2);
const installed = createRequire(`${process.env.CLIENTS_INSTALLED}/`);
const { OpenFeature } = installed('@openfeature/web-sdk');
const { OFREPWebProvider } = installed('@openfeature/ofrep-web-provider');

const person = (name, attributes) => ({ targetingKey: `${name}-${run}`, ...attributes });

/** What the provider asked and was answered. */
const answers = [];
const fetchImplementation = async (request) => {
  const answer = await fetch(request);
  answers.push({ status: answer.status, sent: request.headers.get('if-none-match'), etag: answer.headers.get('etag') });
  return answer;
};

let domains = 0;
const start = async (context, options) => {
  const domain = `domain-${(domains += 1)}`;
  const provider = new OFREPWebProvider({
    baseUrl: url,
    headers: [['X-API-Key', clientKey]],
    cacheMode: 'disabled',
    fetchImplementation,
    ...options,
  });
  await OpenFeature.setProviderAndWait(domain, provider, context);
  return { domain, provider, client: OpenFeature.getClient(domain) };
};
const until = async (what) => {
  for (let waited = 0; !what(); waited += 20) {
    assert.ok(waited < 5000, 'nothing happened');
    await new Promise((done) => setTimeout(done, 20));
  }
};

async function main() {
  await check('all flags at once, of every type', async () => {
    const { client } = await start(person('web-ann'));
    assert.equal(client.getStringValue('banner', 'x'), 'welcome');
    assert.equal(client.getStringValue('greeting', 'x'), 'gr\u00fc\u00dfe \u2615');
    assert.equal(client.getNumberValue('max_items', 1), 42);
    assert.equal(client.getBooleanValue('beta_program', false), true);
    assert.equal(client.getBooleanValue('dark_mode', true), false);
    assert.deepEqual(client.getObjectValue('layout', {}), { columns: 3, sidebar: true });
    assert.equal(client.getStringValue('retired', 'my own'), 'my own');
    const missing = client.getStringDetails('server_secret', 'x');
    assert.equal(missing.errorCode, 'FLAG_NOT_FOUND');
  });

  await check('without a context there are flags, too', async () => {
    const { client } = await start({});
    const details = client.getStringDetails('button_colour', 'x');
    assert.deepEqual([details.value, details.reason], ['grey', 'DEFAULT']);
  });

  await check('a new context is evaluated anew, tag or not', async () => {
    const { domain, client } = await start(person('web-eva', { plan: 'free' }));
    assert.equal(client.getStringValue('banner', 'x'), 'welcome');
    // The provider sends the tag it has: only the targeting key makes it forget.
    await OpenFeature.setContext(domain, person('web-eva', { plan: 'enterprise' }));
    assert.ok(answers.at(-1).sent, 'sent no tag');
    assert.equal(answers.at(-1).status, 200);
    assert.equal(client.getStringValue('banner', 'x'), 'welcome, enterprise');
    assert.equal(client.getStringDetails('banner', 'x').reason, 'TARGETING_MATCH');
    await OpenFeature.setContext(domain, { targetingKey: 'vip' });
    assert.equal(client.getStringValue('banner', 'x'), 'welcome, vip');
  });

  await check('polling is answered 304', async () => {
    const from = answers.length;
    const { provider } = await start(person('web-poll'), { pollInterval: 50 });
    await until(() => answers.length > from + 1);
    await provider.onClose();
    const [first, second] = answers.slice(from);
    assert.equal(first.status, 200);
    assert.deepEqual(second, { status: 304, sent: first.etag, etag: first.etag });
  });

  await check('a wrong key is fatal', async () => {
    const headers = [['X-API-Key', `nobody-${run}`]];
    await assert.rejects(start(person('web-ann'), { headers }));
    assert.equal(answers.at(-1).status, 401);
  });
}

main().then(finish);
