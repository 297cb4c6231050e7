# Turns a compiled Worker into what workerd loads. Sourced, after scripts/setup/worker.
# shellcheck shell=bash

# pack_worker COMPILED.wasm SHIM.js OUT: writes OUT/index.js (shim and bindings, one file) and
# OUT/index_bg.wasm. WASM_OPT_BIN and ESBUILD_BIN replace the tools of scripts/setup/worker.
pack_worker() {
  local compiled=$1 shim=$2 out=$3 tools=target/tools/worker staging
  local wasm_opt=${WASM_OPT_BIN:-$tools/node_modules/.bin/wasm-opt}
  local esbuild=${ESBUILD_BIN:-$tools/node_modules/.bin/esbuild}
  local made_of
  made_of=$(cat "$compiled" "$shim" "$tools/yardarm-worker-bindgen" "$tools/installed-lock.json" scripts/lib/pack-worker.sh | sha256sum)
  made_of+=" $wasm_opt $esbuild ${WASM_OPT_LEVEL:-} ${KEEP_NAMES:-}"
  if [ -f "$out/index.js" ] && [ -f "$out/index_bg.wasm" ] && [ "$(cat "$out/made-of" 2>/dev/null)" = "$made_of" ]; then return; fi
  mkdir -p "$out"
  rm -f "$out/made-of"
  staging=$(mktemp -d target/pack-worker.XXXXXX)
  "$tools/yardarm-worker-bindgen" "$compiled" "$staging"
  # What is called from one place is not moved there unless it is small: packed, that costs a twelfth more (docs/adr/0003).
  "$wasm_opt" "${WASM_OPT_LEVEL:--O3}" -ocimfs=20 "$staging/index_bg.wasm" -o "$staging/optimised.wasm" ${KEEP_NAMES:+--debuginfo} \
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
  printf '%s\n' "$made_of" >"$out/made-of"
}
