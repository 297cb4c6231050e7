// Makes the demo project through the public admin API, once, and prints how to use it.
//   node seed.mjs STATE_FILE ADMIN_URL "name=url"...
// The publishing secret is read from YARDARM_SECRET. With YARDARM_EDGE_BIN it also tells how to start an edge for an
// existing Flagsmith.

import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { client, until } from './api.mjs';

const [stateFile, admin, ...edgeArguments] = process.argv.slice(2);
const edges = edgeArguments.map((argument) => {
  const at = argument.indexOf('=');
  return { name: argument.slice(0, at), url: argument.slice(at + 1) };
});
const secret = process.env.YARDARM_SECRET;
const person = { email: 'demo@example.com', password: 'a-demo-password-1' };

async function logIn() {
  const anonymous = client(admin);
  try {
    return (await anonymous.post('/api/v1/auth/login/', person)).key;
  } catch (error) {
    if (error.status !== 400) throw error;
  }
  const names = { first_name: 'Demo', last_name: 'Person', superuser: true };
  return (await anonymous.post('/api/v1/auth/users/', { ...person, ...names })).key;
}

async function makeProject(api) {
  const organisation = await api.post('/api/v1/organisations/', { name: 'Demo organisation' });
  const project = await api.post('/api/v1/projects/', {
    name: 'Demo project',
    organisation: organisation.id,
  });
  const environment = await api.post('/api/v1/environments/', {
    name: 'Development',
    project: project.id,
  });
  const key = environment.api_key;
  const features = `/api/v1/projects/${project.id}/features/`;
  const demo = await api.post(features, {
    name: 'demo_flag',
    default_enabled: false,
    initial_value: 'hello from the edge',
    description: 'Switch it and watch every edge follow.',
  });
  await api.post(features, {
    name: 'button_colour',
    default_enabled: true,
    initial_value: 'grey',
    multivariate_options: [
      { type: 'unicode', string_value: 'green', default_percentage_allocation: 30 },
      { type: 'unicode', string_value: 'blue', default_percentage_allocation: 30 },
    ],
  });
  const segment = await api.post(`/api/v1/projects/${project.id}/segments/`, {
    name: 'enterprise',
    project: project.id,
    rules: [
      {
        type: 'ALL',
        conditions: [],
        rules: [
          { type: 'ANY', rules: [], conditions: [{ property: 'plan', operator: 'EQUAL', value: 'enterprise' }] },
        ],
      },
    ],
  });
  await api.post(`/api/v1/environments/${key}/features/${demo.id}/create-segment-override/`, {
    feature_segment: { segment: segment.id },
    enabled: true,
    feature_state_value: { type: 'unicode', string_value: 'hello, enterprise' },
  });
  const serverKey = await api.post(`/api/v1/environments/${key}/api-keys/`, { name: 'demo server' });
  const states = await api.get(`/api/v1/environments/${key}/featurestates/?feature=${demo.id}`);
  return {
    project: project.id,
    environment_key: key,
    server_key: serverKey.key,
    feature: 'demo_flag',
    feature_state: states.results[0].id,
  };
}

/** One target an edge, by name; a target whose address or secret changed is brought up to date. */
async function register(api) {
  const path = '/api/v1/edge/targets/';
  const listed = await api.get(path);
  const targets = Array.isArray(listed) ? listed : listed.results;
  for (const { name, url } of edges) {
    const found = targets.find((target) => target.name === name);
    const wanted = { name, url, secret, enabled: true };
    if (found) await api.put(`${path}${found.id}/`, wanted);
    else await api.post(path, wanted);
  }
}

const token = await logIn();
const api = client(admin, token);
let state = existsSync(stateFile) ? JSON.parse(readFileSync(stateFile, 'utf8')) : undefined;
if (state) {
  // A control plane that was started over does not know the project any more.
  await api.get(`/api/v1/environments/${state.environment_key}/`).catch((error) => {
    if (error.status !== 404) throw error;
    state = undefined;
  });
}
state ??= await makeProject(api);
await register(api);
state = { ...state, admin, token, edges: [{ name: 'control plane', url: admin }, ...edges] };
writeFileSync(stateFile, JSON.stringify(state, undefined, 2));
chmodSync(stateFile, 0o600);

const flags = (url) =>
  fetch(`${url}/api/v1/flags/`, { headers: { 'X-Environment-Key': state.environment_key } });
for (const { name, url } of state.edges) {
  if (!(await until(async () => (await flags(url)).ok, 15_000))) {
    console.error(`seed: ${name} at ${url} does not serve the demo environment`);
    process.exit(1);
  }
}

const project = await api.get(`/api/v1/projects/${state.project}/`);
const { environment_key: key, server_key: serverKey } = state;
const near = edges[0]?.url ?? admin;
const header = `-H 'X-Environment-Key: ${key}'`;
const json = `-H 'Content-Type: application/json'`;
console.log(`
Yardarm is running.

  admin API        ${admin}/api/v1/   (OpenAPI: ${admin}/api/v1/openapi.json)
  log in as        ${person.email} / ${person.password}
  client-side key  ${key}
  server-side key  ${serverKey}

A flag from each edge:
`);
for (const { name, url } of state.edges) {
  console.log(`  # ${name}`);
  console.log(`  curl -s ${header} '${url}/api/v1/flags/?feature=demo_flag'\n`);
}
console.log(`The rest, at one of them:

  # an identity, whose trait puts it into the segment "enterprise"
  curl -s ${header} ${json} '${near}/api/v1/identities/' \\
    -d '{"identifier": "ann", "traits": [{"trait_key": "plan", "trait_value": "enterprise"}]}'

  # the same asked by OpenFeature's protocol (docs/openfeature.md)
  curl -s -H 'X-API-Key: ${key}' '${near}/ofrep/v1/evaluate/flags/demo_flag' -d '{"context": {"targetingKey": "ann"}}'

  # changes as they happen, not from Spin (docs/real-time.md)
  curl -sN '${near}/sse/environments/${key}/stream'

  # what was asked at all edges, two to three minutes later (docs/usage.md)
  curl -s -H 'Authorization: Token ${token}' '${admin}/api/v1/organisations/${project.organisation}/usage-data/'
`);
if (process.env.YARDARM_EDGE_BIN) {
  console.log(`  # an edge for an existing Flagsmith, played by the admin API here (docs/edge-for-flagsmith.md)
  ${process.env.YARDARM_EDGE_BIN} --listen 127.0.0.1:8002 --data-dir ${dirname(stateFile)}/upstream \\
    --upstream-url ${admin}/api/v1 --environment ${serverKey}=${key}
`);
}
console.log('scripts/demo switches the flag and shows how fast every edge follows.');
