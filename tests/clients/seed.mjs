// node seed.mjs ADMIN_URL: makes the environment of publication.json in a new Yardarm, through the admin API, as people
// would. Prints the client-side key, the server-side key, a token, and the id of the state that `banner` has.
//
// node seed.mjs ADMIN_URL TOKEN KEY COUNT: adds so many identities to it, each with more than a megabyte of overrides.

import { readFileSync } from 'node:fs';
import { client } from '../../scripts/lib/api.mjs';

const [admin, given, ...rest] = process.argv.slice(2);
if (given) {
  await addOverrides(...rest);
  process.exit();
}

async function addOverrides(key, count) {
  const api = client(admin, given);
  const identities = `/api/v1/environments/${key}/identities/`;
  const { project } = await api.get(`/api/v1/environments/${key}/`);
  const features = (await api.get(`/api/v1/projects/${project}/features/?page_size=100`)).results;
  const makeIdentity = async (n) => (await api.post(identities, { identifier: `paged-${n}` })).id;
  const first = await makeIdentity(0);
  for (const { id: feature, name } of features) {
    // Six bytes each in JSON.
    const value = `${name} of many ${'\u0001'.repeat(19_900)}`;
    await api.post(`${identities}${first}/featurestates/`, { feature, enabled: true, feature_state_value: value });
  }
  for (let n = 1; n < Number(count); n += 1) {
    const path = `${identities}${await makeIdentity(n)}/featurestates/clone-from-given-identity/`;
    await api.post(path, { source_identity_id: first });
  }
}

const { document } = JSON.parse(readFileSync(new URL('publication.json', import.meta.url), 'utf8'));
const secret = new Set(document.project.server_key_only_feature_ids);

const person = { email: 'clients@example.com', password: 'a-clients-password-1' };
const names = { first_name: 'Clients', last_name: 'Test', superuser: true };
const { key: token } = await client(admin).post('/api/v1/auth/users/', { ...person, ...names });
const api = client(admin, token);
const organisation = await api.post('/api/v1/organisations/', { name: 'Clients' });
const project = await api.post('/api/v1/projects/', { name: 'Clients', organisation: organisation.id });
const environment = await api.post('/api/v1/environments/', { name: 'Clients', project: project.id });
const here = `/api/v1/environments/${environment.api_key}`;

// Ids come in the order of the file, so that they are the same.
const features = new Map();
for (const state of document.feature_states) {
  const made = await api.post(`/api/v1/projects/${project.id}/features/`, {
    name: state.feature.name,
    default_enabled: state.enabled,
    initial_value: state.feature_state_value === null ? null : String(state.feature_state_value),
    is_server_key_only: secret.has(state.feature.id),
  });
  features.set(state.feature.id, made.id);
  for (const { percentage_allocation, multivariate_feature_option: option } of state.multivariate_feature_state_values) {
    await api.post(`/api/v1/projects/${project.id}/features/${made.id}/mv-options/`, {
      feature: made.id,
      type: 'unicode',
      key: option.key,
      string_value: option.value,
      default_percentage_allocation: percentage_allocation,
    });
  }
}

const rules = (list) =>
  list.map(({ type, conditions, rules: nested }) => ({
    type,
    rules: rules(nested),
    conditions: conditions.map(({ operator, property_, value }) => ({ operator, property: property_, value })),
  }));
for (const segment of document.project.segments) {
  const made = await api.post(`/api/v1/projects/${project.id}/segments/`, {
    name: segment.name,
    project: project.id,
    rules: rules(segment.rules),
  });
  for (const state of segment.feature_states) {
    const path = `${here}/features/${features.get(state.feature.id)}/create-segment-override/`;
    await api.post(path, {
      feature_segment: { segment: made.id },
      enabled: state.enabled,
      feature_state_value: { type: 'unicode', string_value: state.feature_state_value },
    });
  }
}

for (const { identifier, identity_features: overrides } of document.identity_overrides) {
  const identity = await api.post(`${here}/identities/`, { identifier });
  for (const state of overrides) {
    await api.post(`${here}/identities/${identity.id}/featurestates/`, {
      feature: features.get(state.feature.id),
      enabled: state.enabled,
      feature_state_value: state.feature_state_value,
    });
  }
}

const { key: serverKey } = await api.post(`${here}/api-keys/`, { name: 'clients' });
const states = await api.get(`${here}/featurestates/?feature=${features.get(1)}`);
const banner = states.results.find(({ feature_segment, identity }) => !feature_segment && !identity);
console.log([environment.api_key, serverKey, token, banner.id].join(' '));
