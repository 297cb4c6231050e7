// The entry of the smallest Rust Worker: what it costs to get to Rust and back.
import { fetch } from "./index.js";

export default { fetch };
