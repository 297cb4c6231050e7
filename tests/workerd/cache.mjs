// Cloudflare's cache for one machine: what workerd asks of it over HTTP for `caches.default`. In memory,
// a hundred answers, no expiry: enough to see that what is put can be matched again.
const LIMIT = 100;
const answers = new Map();

export default {
  async fetch(request) {
    switch (request.method) {
      case "PUT": {
        // The body is the answer as it would stand on the wire: head, empty line, body.
        const bytes = new Uint8Array(await request.arrayBuffer());
        const end = headLength(bytes);
        const lines = new TextDecoder().decode(bytes.subarray(0, end)).split("\r\n").slice(1, -2);
        const headers = lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]);
        if (answers.size >= LIMIT) answers.delete(answers.keys().next().value);
        answers.set(request.url, { headers, body: bytes.slice(end) });
        return new Response(null, { status: 204 });
      }
      case "PURGE":
        return new Response(null, { status: answers.delete(request.url) ? 200 : 404 });
      default: {
        const found = answers.get(request.url);
        if (!found) return new Response(null, { status: 504, headers: { "cf-cache-status": "MISS" } });
        const headers = new Headers(found.headers.filter(([name]) => name.toLowerCase() !== "transfer-encoding"));
        headers.set("cf-cache-status", "HIT");
        return new Response(found.body, { headers });
      }
    }
  },
};

function headLength(bytes) {
  for (let at = 3; at < bytes.length; at++) {
    if (bytes[at] === 10 && bytes[at - 1] === 13 && bytes[at - 2] === 10 && bytes[at - 3] === 13) return at + 1;
  }
  return bytes.length;
}
