// A Worker in JavaScript that answers BYTES constant bytes to everything.
let body;

export default {
  fetch(request, env) {
    body ??= new Uint8Array(Number(env.BYTES)).fill(120);
    return new Response(body, { headers: { "content-type": "application/octet-stream" } });
  },
};
