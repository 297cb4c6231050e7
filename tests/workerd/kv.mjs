// Workers KV for one machine: the HTTP protocol workerd speaks to a namespace (get, put, delete), kept
// in an object's SQLite. Values are cut into rows, because a row holds at most 2 MB.
import { DurableObject } from "cloudflare:workers";

const PIECE = 1 << 20;

export class Values extends DurableObject {
  constructor(state, env) {
    super(state, env);
    this.sql = state.storage.sql;
    this.sql.exec(
      "CREATE TABLE IF NOT EXISTS pieces (key TEXT, place INTEGER, bytes BLOB, PRIMARY KEY (key, place)) WITHOUT ROWID",
    );
  }

  get(key) {
    const pieces = this.sql.exec("SELECT bytes FROM pieces WHERE key = ? ORDER BY place", key).toArray();
    return pieces.length === 0 ? null : new Blob(pieces.map((piece) => piece.bytes)).arrayBuffer();
  }

  put(key, value) {
    this.ctx.storage.transactionSync(() => {
      this.sql.exec("DELETE FROM pieces WHERE key = ?", key);
      for (let place = 0; place === 0 || place * PIECE < value.byteLength; place++) {
        const bytes = value.slice(place * PIECE, (place + 1) * PIECE);
        this.sql.exec("INSERT INTO pieces (key, place, bytes) VALUES (?, ?, ?)", key, place, bytes);
      }
    });
  }

  delete(key) {
    this.sql.exec("DELETE FROM pieces WHERE key = ?", key);
  }
}

// Tests take the namespace away with `DELETE /` and give it back with `PUT /`.
let down = false;

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/") down = request.method === "DELETE";
    if (pathname === "/" || down) return new Response(null, { status: down ? 503 : 200 });
    const key = decodeURIComponent(pathname.slice(1));
    const values = env.VALUES.get(env.VALUES.idFromName("values"));
    switch (request.method) {
      case "GET": {
        const value = await values.get(key);
        return value === null ? new Response(null, { status: 404 }) : new Response(value);
      }
      case "PUT": {
        const value = await request.arrayBuffer();
        // Cloudflare's own bound.
        if (value.byteLength > 25 << 20) return new Response(null, { status: 413 });
        await values.put(key, value);
        return new Response();
      }
      case "DELETE":
        await values.delete(key);
        return new Response(null, { status: 204 });
      default:
        return new Response(null, { status: 405 });
    }
  },
};
