import type { Change, Condition, Store } from "./store.ts";

/** One bucket with typed values. Changes and conditions are values to be put into one `store.commit`. */
export interface Collection<T> {
  readonly bucket: string;
  get(key: string): Promise<T | undefined>;
  list(prefix?: string): Promise<Array<{ key: string; value: T }>>;
  put(key: string, value: T): Change;
  delete(key: string): Change;
  absent(key: string): Condition;
  present(key: string): Condition;
  /** The record must still be what was read. */
  equals(key: string, value: T): Condition;
}

/** A typed view of a bucket. `T` must survive JSON: no bigint, Date or undefined in arrays. */
export function collection<T>(store: Store, bucket: string): Collection<T> {
  const encode = (value: T) => JSON.stringify(value);
  const decode = (text: string) => JSON.parse(text) as T;
  return {
    bucket,
    async get(key) {
      const text = await store.get(bucket, key);
      return text === undefined ? undefined : decode(text);
    },
    async list(prefix) {
      const entries = await store.list(bucket, prefix);
      return entries.map(({ key, value }) => ({ key, value: decode(value) }));
    },
    put: (key, value) => ({ op: "put", bucket, key, value: encode(value) }),
    delete: (key) => ({ op: "delete", bucket, key }),
    absent: (key) => ({ is: "absent", bucket, key }),
    present: (key) => ({ is: "present", bucket, key }),
    equals: (key, value) => ({ is: "equals", bucket, key, value: encode(value) }),
  };
}
