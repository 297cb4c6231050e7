# Turns a compiled Worker into what workerd loads. Sourced, after scripts/setup/worker.
# shellcheck shell=bash

# pack_worker COMPILED.wasm SHIM.js OUT: writes OUT/index.js (shim and bindings, one file) and
# OUT/index_bg.wasm. WASM_OPT_BIN and ESBUILD_BIN replace the tools of scripts/setup/worker.
pack_worker() {
  local compiled=$1 shim=$2 out=$3 tools=target/tools/worker staging
  local wasm_opt=${WASM_OPT_BIN:-$tools/node_modules/.bin/wasm-opt}
  local esbuild=${ESBUILD_BIN:-$tools/node_modules/.bin/esbuild}
  mkdir -p "$out"
  staging=$(mktemp -d target/pack-worker.XXXXXX)
  "$tools/yardarm-worker-bindgen" "$compiled" "$staging"
  "$wasm_opt" "${WASM_OPT_LEVEL:--O3}" "$staging/index_bg.wasm" -o "$staging/optimised.wasm" ${KEEP_NAMES:+--debuginfo} \
    --enable-mutable-globals --enable-sign-ext --enable-nontrapping-float-to-int --enable-bulk-memory \
    --enable-multivalue --enable-reference-types --enable-exception-handling
  cp "$shim" "$staging/shim.js"
  "$esbuild" "$staging/shim.js" --bundle --format=esm --minify --log-level=warning \
    --external:./index_bg.wasm --external:cloudflare:* --outfile="$staging/bundle.js"
  # esbuild keeps the source-phase import, which workerd does not know yet: there a plain import of a
  # module is the module.
  sed 's/import source /import /' "$staging/bundle.js" >"$out/index.js"
  mv "$staging/optimised.wasm" "$out/index_bg.wasm"
  rm -rf "$staging"
}
