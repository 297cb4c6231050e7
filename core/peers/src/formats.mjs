// The first answer from cold bytes of each format, in WebAssembly in V8: node src/formats.mjs MODULE.wasm
import { readFileSync } from "node:fs";
import { hrtime } from "node:process";

const code = new WebAssembly.Module(readFileSync(process.argv[2]));
const absent = new Proxy({}, { get: (_, name) => () => { throw new Error(`called ${String(name)}`); } });
const imports = Object.fromEntries(WebAssembly.Module.imports(code).map(({ module }) => [module, absent]));

console.log("| features | overrides | own us | rkyv us | zerocopy us |\n|---|---|---|---|---|");
for (const features of [10, 100, 1000]) {
  for (const overrides of [0, 1000, 100000]) {
    const { exports } = new WebAssembly.Instance(code, imports);
    exports.load_formats(features, overrides);
    const time = (format, times) => {
      const start = hrtime.bigint();
      exports.run_format(format, times);
      return Number(hrtime.bigint() - start);
    };
    const fastest = (format) => {
      let times = 1;
      while (time(format, times) < 5e6) times *= 2;
      return Math.min(...Array.from({ length: 60 }, () => time(format, times))) / times;
    };
    const columns = [0, 1, 2].map((format) => (fastest(format) / 1e3).toFixed(2));
    console.log(`| ${features} | ${overrides} | ${columns.join(" | ")} |`);
  }
}
