# Starts servers, waits for them, and stops them again. Sourced by scripts that set `logs` to a folder.
# shellcheck shell=bash

pids=()

stop_all() {
  trap - EXIT INT TERM
  local i
  # Last started, first stopped.
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill -TERM "${pids[$i]}" 2>/dev/null || true; done
  for i in "${pids[@]}"; do wait "$i" 2>/dev/null || true; done
}
trap stop_all EXIT
trap 'exit 130' INT TERM

# start NAME COMMAND...: in a session of its own, so that Ctrl-C reaches the script alone and it can stop
# its servers in order.
start() {
  local name=$1
  shift
  setsid "$@" >"$logs/$name.log" 2>&1 &
  pids+=($!)
}

# await NAME URL [TRIES]: until the address answers at all; tells the end of the log when it never does.
await() {
  local tries=0 limit=${3:-300}
  until curl -s -o /dev/null -m 2 "$2"; do
    tries=$((tries + 1))
    if [ "$tries" -gt "$limit" ]; then
      echo "$1 does not answer at $2; its log ends:" >&2
      tail -20 "$logs/$1.log" >&2
      exit 1
    fi
    sleep 0.1
  done
}

# free_port: a port nobody listens on now.
free_port() {
  node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'
}
