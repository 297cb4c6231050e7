// A control plane that hands out one package: node control_plane.mjs PORT SECRET CLIENT_KEY FILE. GET /asked tells how many
// questions came.
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const [port, secret, key, file] = process.argv.slice(2);
const content = readFileSync(file);
let asked = 0;
createServer((request, response) => {
  if (request.url === "/asked") return response.end(String(asked));
  if (!request.url.endsWith("/package/")) return response.writeHead(404).end();
  asked++;
  if (request.url !== `/api/v1/edge/environments/${key}/package/`) return response.writeHead(404).end("{}");
  const time = Math.floor(Date.now() / 1000);
  const hash = createHash("sha256").update(content).digest("hex");
  const text = `GET\n${request.url}\n${time}\n${hash}`;
  const signature = createHmac("sha256", secret).update(text).digest("hex");
  response.writeHead(200, { "yardarm-timestamp": time, "yardarm-signature": signature });
  response.end(content);
}).listen(Number(port), "127.0.0.1");
