// Asks another server, with headers ("name\nvalue\n…") and a body if any: at most `room` bytes of an answer that must be
// whole after `silence` milliseconds. Redirects are not followed, because secrets go along.
export async function ask(method, url, lines, body, room, silence) {
  const headers = new Headers();
  const parts = lines.split("\n");
  for (let at = 0; at + 1 < parts.length; at += 2) headers.append(parts[at], parts[at + 1]);
  const signal = AbortSignal.timeout(silence);
  const response = await fetch(url, { method, headers, body, redirect: "manual", signal });
  const chunks = [];
  let length = 0;
  if (response.body !== null) {
    for await (const chunk of response.body) {
      length += chunk.length;
      if (length > room) throw new Error("the answer is too long");
      chunks.push(chunk);
    }
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  let told = "";
  for (const [name, value] of response.headers) told += `${name}\n${value}\n`;
  return { status: response.status, headers: told, body: whole };
}
