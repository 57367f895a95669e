export { type Collection, collection } from "./collection.ts";
export { Mutex } from "./mutex.ts";
export { openStore } from "./open-store.ts";
export type { Change, CommitOptions, Condition, Entry, Store } from "./store.ts";
