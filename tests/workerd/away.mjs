// A Durable Object that never answers, for an isolate that has lost its objects.
import { DurableObject } from "cloudflare:workers";

export class Away extends DurableObject {
  fetch() {
    throw new Error("the object is away");
  }
}

export default {
  fetch() {
    return new Response(null, { status: 404 });
  },
};
