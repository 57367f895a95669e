export { type Collection, collection } from "./collection.ts";
export { journaledStore } from "./journaled-store.ts";
export { Mutex } from "./mutex.ts";
export { openStore } from "./open-store.ts";
export { scopedStore } from "./scoped-store.ts";
export type { Change, CommitOptions, Condition, Entry, Store } from "./store.ts";
