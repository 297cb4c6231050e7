// Runs wasm-opt over the core modules inside a component, which wasm-opt itself does not read.
//
//   node scripts/lib/optimise-component.mjs WASM_OPT IN OUT [WASM_OPT_FLAG...]
//
// A component is a list of sections, each an id, a length and that many bytes; a core module is the
// whole body of a section with id 1. Nothing refers to offsets, so a body can be replaced.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PREAMBLE = 8;
const CUSTOM = 0;
const CORE_MODULE = 1;
// The modules that glue the rest together are smaller, and must stay as they are.
const WORTH_WHILE = 10_000;

const [wasmOpt, input, output, ...flags] = process.argv.slice(2);
if (!output) {
  console.error("optimise-component: WASM_OPT IN OUT [FLAG...]");
  process.exit(2);
}

function readLength(bytes, at) {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++];
    if (byte === undefined || shift > 28) throw new Error(`${input}: damaged length at ${at}`);
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [value, at];
  }
}

function writeLength(value) {
  const bytes = [];
  do {
    bytes.push((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    value = Math.floor(value / 128);
  } while (value > 0);
  return Buffer.from(bytes);
}

const scratch = mkdtempSync(join(tmpdir(), "optimise-component-"));
function optimise(module) {
  const [from, to] = [join(scratch, "from.wasm"), join(scratch, "to.wasm")];
  writeFileSync(from, module);
  execFileSync(wasmOpt, [...flags, from, "-o", to], { stdio: ["ignore", "inherit", "inherit"] });
  return readFileSync(to);
}

try {
  const component = readFileSync(input);
  if (component.readUInt32LE(0) !== 0x6d736100 || component[6] !== 1) throw new Error(`${input} is no component`);
  const parts = [component.subarray(0, PREAMBLE)];
  for (let at = PREAMBLE; at < component.length; ) {
    const id = component[at];
    const [length, start] = readLength(component, at + 1);
    let body = component.subarray(start, start + length);
    if (body.length !== length) throw new Error(`${input}: cut short`);
    // Custom sections hold names and the like: nothing that runs.
    if (id === CUSTOM) {
      at = start + length;
      continue;
    }
    if (id === CORE_MODULE && length > WORTH_WHILE) body = optimise(body);
    parts.push(Buffer.from([id]), writeLength(body.length), body);
    at = start + length;
  }
  writeFileSync(output, Buffer.concat(parts));
} finally {
  rmSync(scratch, { recursive: true });
}
