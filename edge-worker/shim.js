// The Worker's entry: hands events to Rust, and starts Rust over after a panic.
//
// What worker-build generates does the same for any Worker; this is it for ours, without a proxy on
// every call. A panic leaves the memory of the module unusable: the request gets a 500, the next one
// starts with fresh memory, and objects are built anew from their storage.
import * as rust from "./index.js";

const state = rust.__worker_init_state();

function enter() {
  if (state.criticalError) {
    console.error("starting over after a panic");
    rust.__wbg_reset_state();
    state.criticalError = false;
    state.instanceId++;
  }
}

function fail(error) {
  if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
  throw error;
}

addEventListener("error", (event) => {
  if (event.error instanceof WebAssembly.RuntimeError) state.criticalError = true;
});

function answer(request, body, env, context) {
  enter();
  try {
    const reply = rust.answer(request, body, env, context);
    return reply instanceof Promise ? reply.catch(fail) : reply;
  } catch (error) {
    fail(error);
  }
}

export default {
  fetch(request, env, context) {
    switch (request.method) {
      case "GET":
      case "HEAD":
      case "OPTIONS":
        return answer(request, undefined, env, context);
    }
    return request.arrayBuffer().then((body) => answer(request, new Uint8Array(body), env, context));
  },
};

const durable = (name) =>
  class {
    #arguments;
    #object;
    #instance;

    constructor(...args) {
      this.#arguments = args;
    }

    async #call(method, ...args) {
      enter();
      try {
        if (this.#instance !== state.instanceId) {
          this.#object = new rust[name](...this.#arguments);
          this.#instance = state.instanceId;
        }
        // Not every build has every method, and an alarm may be another's.
        return await this.#object[method]?.(...args);
      } catch (error) {
        fail(error);
      }
    }

    fetch(request) {
      return this.#call("fetch", request);
    }

    alarm() {
      return this.#call("alarm");
    }
  };

export const Environments = durable("Environments");
export const Identity = durable("Identity");
export const Streams = durable("Streams");
export const Outbox = durable("Outbox");
export const Pulls = durable("Pulls");
