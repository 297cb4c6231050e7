// node propagation.mjs STATE_FILE ROUNDS: switches the demo flag and times, from the admin API's answer, when each
// edge serves the change and when who listens there is told of it. Prints p50 and p99.

import { readFileSync } from 'node:fs';
import { client, until } from './api.mjs';

const LIMIT_MS = 10_000;
const [stateFile, rounds] = process.argv.slice(2);
const state = JSON.parse(readFileSync(stateFile, 'utf8'));
const api = client(state.admin, state.token);
const statePath = `/api/v1/environments/${state.environment_key}/featurestates/${state.feature_state}/`;

async function isEnabled(url) {
  const headers = { 'X-Environment-Key': state.environment_key };
  const response = await fetch(`${url}/api/v1/flags/?feature=${state.feature}`, { headers });
  return (await response.json()).enabled;
}

/** Listens to an edge: gives a function that waits for news and tells when they came; undefined without streams. */
async function listen(url) {
  const response = await fetch(`${url}/sse/environments/${state.environment_key}/stream`);
  if (!response.ok) return undefined;
  let newest = 0;
  let told = () => {};
  const decoder = new TextDecoder();
  (async () => {
    for await (const chunk of response.body) {
      const version = Number(/^id: (\d+)$/m.exec(decoder.decode(chunk))?.[1] ?? 0);
      if (version <= newest) continue;
      newest = version;
      told(performance.now());
    }
  })();
  return () => new Promise((resolve) => {
    told = resolve;
    setTimeout(resolve, LIMIT_MS, Infinity).unref();
  });
}

const edges = [];
for (const { name, url } of state.edges) edges.push({ name, url, news: await listen(url), served: [], told: [] });
// What is told on connecting has come.
await new Promise((resolve) => setTimeout(resolve, 500));

const saved = [];
for (let round = 0; round < Number(rounds); round += 1) {
  const enabled = !(await isEnabled(state.admin));
  const news = edges.map((edge) => edge.news?.());
  const begun = performance.now();
  await api.patch(statePath, { enabled });
  const from = performance.now();
  saved.push(from - begun);
  await Promise.all(
    edges.map(async ({ url, served, told }, at) => {
      const seen = await until(async () => (await isEnabled(url)) === enabled, LIMIT_MS);
      served.push(seen ? performance.now() - from : Infinity);
      if (news[at]) told.push((await news[at]) - from);
    }),
  );
}

const quantile = (values, part) => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))].toFixed(0);
};
const shown = (values) => (values.length ? `${quantile(values, 0.5)} / ${quantile(values, 0.99)}` : '-');
console.log(`${rounds} changes, each answered after ${shown(saved)} ms (p50 / p99); from the answer, ms:`);
console.log('                      served        told');
for (const { name, served, told } of edges) {
  console.log(`  ${name.padEnd(18)} ${shown(served).padStart(10)}  ${shown(told).padStart(10)}`);
}
for (const target of (await api.get('/api/v1/edge/targets/')).results) {
  const { last_confirmation: last, lag } = target;
  console.log(`  ${target.name}: confirmed the last change after ${last?.seconds} s; ${lag.environments} environments behind`);
}
process.exit(edges.some(({ served, told }) => ![...served, ...told].every(Number.isFinite)) ? 1 : 0);
