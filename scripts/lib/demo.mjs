// node demo.mjs STATE_FILE [ROUNDS]: switch the demo flag, time every edge until it answers so.

import { existsSync, readFileSync } from 'node:fs';
import { client, until } from './api.mjs';

const LIMIT_MS = 2_000;
const [stateFile, rounds = '5'] = process.argv.slice(2);
if (!existsSync(stateFile)) {
  console.error('demo: no demo project here; start scripts/dev first');
  process.exit(1);
}
const state = JSON.parse(readFileSync(stateFile, 'utf8'));
const api = client(state.admin, state.token);
const statePath = `/api/v1/environments/${state.environment_key}/featurestates/${state.feature_state}/`;

async function enabledAt(url) {
  const response = await fetch(`${url}/api/v1/flags/?feature=${state.feature}`, {
    headers: { 'X-Environment-Key': state.environment_key },
  });
  return (await response.json()).enabled;
}

let inTimeCount = 0;
let late = 0;
for (let round = 1; round <= Number(rounds); round += 1) {
  const enabled = !(await enabledAt(state.admin));
  const from = performance.now();
  await api.patch(statePath, { enabled });
  const saved = performance.now() - from;
  console.log(`${state.feature} -> ${enabled ? 'on' : 'off'}   saved in ${saved.toFixed(0)} ms`);
  const shown = await Promise.all(
    state.edges.map(async ({ name, url }) => {
      const seen = await until(async () => (await enabledAt(url)) === enabled, LIMIT_MS * 2);
      return { name, took: seen ? performance.now() - from : Infinity };
    }),
  );
  for (const { name, took } of shown) {
    const inTime = took <= LIMIT_MS;
    if (inTime) inTimeCount += 1;
    else late += 1;
    const text = Number.isFinite(took) ? `${took.toFixed(0)} ms` : 'never';
    console.log(`  ${name.padEnd(18)} ${text.padStart(8)}${inTime ? '' : '   LATE'}`);
  }
}
console.log(`${inTimeCount} passed, ${late} failed`);
if (late > 0) {
  console.error(`${late} answers came later than ${LIMIT_MS} ms`);
  process.exit(1);
}
