import type { Store } from "./store.ts";

/**
 * A part of a store that others use as well: every bucket's name gets the scope in front.
 *
 * @param scope has no `/`; closing the part leaves the whole open
 */
export function scopedStore(store: Store, scope: string): Store {
  const inScope = (bucket: string) => `${scope}/${bucket}`;
  const moved = <T extends { bucket: string }>(item: T): T => ({ ...item, bucket: inScope(item.bucket) });
  return {
    get: (bucket, key) => store.get(inScope(bucket), key),
    list: (bucket, prefix) => store.list(inScope(bucket), prefix),
    commit: (changes, conditions = [], options) =>
      store.commit(changes.map(moved), conditions.map(moved), options),
    check: () => store.check(),
    [Symbol.asyncDispose]: async () => {},
  };
}
