// Runs the tasks in WebAssembly in V8 and compares with the native times that the program wrote.
//   node src/run.mjs MODULE.wasm PROFILES NATIVE.json
import { existsSync, readFileSync } from "node:fs";
import { hrtime } from "node:process";

const [module, profiles, native] = process.argv.slice(2);
const natively = JSON.parse(readFileSync(native, "utf8"));
const code = new WebAssembly.Module(readFileSync(module));
const ANSWER = 0, FIRST_ANSWER = 1;

for (const name of Object.keys(natively)) {
  const [document, post] = ["env", "post"].map((part) => `${profiles}/${part}-${name}.json`);
  if (!existsSync(document)) continue;
  const bytes = [document, post].map((file) => readFileSync(file));
  // What flagsmith-flag-engine asks of its host; no task depends on it.
  const absent = new Proxy({}, { get: (_, name) => () => { throw new Error(`called ${String(name)}`); } });
  const imports = Object.fromEntries(WebAssembly.Module.imports(code).map(({ module }) => [module, absent]));
  const { exports } = new WebAssembly.Instance(code, imports);
  const at = exports.input(bytes[0].length + bytes[1].length);
  const memory = new Uint8Array(exports.memory.buffer);
  memory.set(bytes[0], at);
  memory.set(bytes[1], at + bytes[0].length);
  exports.load(bytes[0].length);

  const time = (task, times) => {
    const start = hrtime.bigint();
    exports.run(task, times);
    return Number(hrtime.bigint() - start);
  };
  // The time of one, in the fastest of many rounds.
  const fastest = (task) => {
    let times = 1;
    while (time(task, times) < 5e6) times *= 2;
    return Math.min(...Array.from({ length: 100 }, () => time(task, times))) / times;
  };
  const [answer, first] = [fastest(ANSWER), fastest(FIRST_ANSWER)];
  const ratio = (a, b) => (a / b).toFixed(2);
  console.log(
    `${name}: in WebAssembly ${(answer / 1e3).toFixed(2)} us: ${ratio(answer, natively[name])} of native (at most 2.5); ` +
      `first answer ${ratio(first, answer)} warm ones`,
  );
}
