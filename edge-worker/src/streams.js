// Event streams, on both sides of their object: the set of them there, and the passage through the
// isolate that the client is connected to. What is sent when is said in core/src/edge/stream.rs.

// Chunks that may wait for a client that does not read. One that is further behind is hung up on; it
// connects again and is told the newest.
const MAX_WAITING = 32;

// The streams that one object holds open.
export class Subscribers {
  #all = new Set();
  #event;
  #rules;

  // How often and how soon (ms) an event is repeated, and what is sent after how long (ms) a silence.
  constructor(repeats, repeatAfter, heartbeat, heartbeatEvery) {
    this.#rules = { repeats, repeatAfter, heartbeat, heartbeatEvery };
  }

  get size() {
    return this.#all.size;
  }

  // A response that begins with `first`.
  open(first) {
    const subscriber = {};
    const leave = () => this.#drop(subscriber);
    const start = (controller) => {
      subscriber.controller = controller;
    };
    const body = new ReadableStream({ start, cancel: leave }, new CountQueuingStrategy({ highWaterMark: MAX_WAITING }));
    this.#all.add(subscriber);
    this.#begin(subscriber, first);
    return new Response(body);
  }

  // From now on this is the event; all are told.
  tell(event) {
    this.#event = event;
    for (const subscriber of this.#all) this.#begin(subscriber, event);
  }

  // Ends all.
  close() {
    for (const subscriber of this.#all) {
      this.#drop(subscriber);
      subscriber.controller.close();
    }
  }

  #begin(subscriber, event) {
    subscriber.repeats = this.#rules.repeats;
    this.#send(subscriber, event);
  }

  #send(subscriber, chunk) {
    clearTimeout(subscriber.timer);
    const { controller } = subscriber;
    if (controller.desiredSize > 0) {
      const { repeatAfter, heartbeatEvery } = this.#rules;
      const wait = subscriber.repeats > 0 ? repeatAfter : heartbeatEvery;
      subscriber.timer = setTimeout(() => this.#wake(subscriber), wait);
      controller.enqueue(chunk);
    } else {
      this.#drop(subscriber);
      // Null once it has failed by itself.
      if (controller.desiredSize !== null) controller.error(new Error("too slow"));
    }
  }

  #wake(subscriber) {
    const repeat = subscriber.repeats > 0;
    if (repeat) subscriber.repeats -= 1;
    this.#send(subscriber, repeat ? this.#event : this.#rules.heartbeat);
  }

  #drop(subscriber) {
    clearTimeout(subscriber.timer);
    this.#all.delete(subscriber);
  }
}

const text = new TextDecoder();

// Opens a stream at its object and passes it on under a head of ours; undefined where the object has
// no room. An event waits here until `heard` has seen to it that this isolate answers accordingly.
export async function openStream(namespace, name, opening, head, heard) {
  const stub = namespace.get(namespace.idFromName(name));
  const response = await stub.fetch("https://object/open", { method: "POST", body: opening });
  if (!response.ok) return undefined;
  const passage = new TransformStream({
    async transform(chunk, controller) {
      const version = /^id: (\d+)$/m.exec(text.decode(chunk));
      if (version !== null) await heard(Number(version[1]));
      controller.enqueue(chunk);
    },
  });
  return new Response(response.body.pipeThrough(passage), head);
}
