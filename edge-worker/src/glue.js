// The crossings between JavaScript and Rust that every request pays for, as few as there can be and
// each with plain values. docs/adr/0003-worker-entry.md has the figures.

let names = [];

// Which headers `headers` may be asked for, by position.
export function nameHeaders(joined) {
  names = joined.split("\n");
}

export function requestLine(request) {
  return `${request.method} ${request.url}`;
}

// The wanted headers (a bit a name), a line each: empty where the request has none, else after a colon.
export function headers(request, wanted) {
  const from = request.headers;
  let text = "";
  for (let at = 0; wanted !== 0; at++, wanted >>>= 1) {
    if (at > 0) text += "\n";
    if (wanted & 1) {
      const value = from.get(names[at]);
      if (value !== null) text += `:${value}`;
    }
  }
  return text;
}

// Status and headers ("name\nvalue\n…") in the form that makes many responses.
export function responseHead(status, lines) {
  const headers = new Headers();
  const parts = lines.split("\n");
  for (let at = 0; at + 1 < parts.length; at += 2) headers.append(parts[at], parts[at + 1]);
  return { status, headers };
}

export function respond(body, head) {
  return new Response(body, head);
}

// The same with a view into Rust's memory, which is only good until Rust goes on.
export function respondWithCopy(body, head) {
  return new Response(body.slice(), head);
}

// Calls one of our own Durable Objects; what it answers, as bytes.
export async function callObject(namespace, name, path, body) {
  const stub = namespace.get(namespace.idFromName(name));
  const init = body === undefined ? undefined : { method: "POST", body };
  const response = await stub.fetch(`https://object${path}`, init);
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  return new Uint8Array(await response.arrayBuffer());
}

const spare = (name) => `https://spare.yardarm.invalid/${name}`;

export async function keepSpare(name, bytes) {
  const headers = { "cache-control": "max-age=31536000", "content-type": "application/octet-stream" };
  await caches.default.put(spare(name), new Response(bytes, { headers }));
}

export async function findSpare(name) {
  const found = await caches.default.match(spare(name));
  return found === undefined ? undefined : new Uint8Array(await found.arrayBuffer());
}
