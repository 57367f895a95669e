import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { collection } from "./collection.ts";
import type { Store } from "./store.ts";

/** What every store driver must do; each driver's test runs it. Buckets are fresh names, so a server may be shared. */
export function storeContract(driver: string, open: () => Promise<Store>): void {
  describe(`${driver} store`, () => {
    let store: Store;
    const bucket = `contract-${crypto.randomUUID()}`;
    beforeAll(async () => {
      store = await open();
    });
    afterAll(async () => {
      const left = await store.list(bucket);
      await store.commit(left.map(({ key }) => ({ op: "delete", bucket, key })));
      await store[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    });
    const put = (key: string, value: string) => ({ op: "put", bucket, key, value }) as const;

    test("get() returns what commit() put, and undefined before", async () => {
      expect(await store.get(bucket, "a")).toBeUndefined();
      await store.commit([put("a", '{"n":1}')]);
      expect(await store.get(bucket, "a")).toBe('{"n":1}');
      await store.commit([put("a", "[]")]);
      expect(await store.get(bucket, "a")).toBe("[]");
    });

    test("commit() of a delete removes, and deleting nothing is no error", async () => {
      await store.commit([put("gone", "1")]);
      await store.commit([{ op: "delete", bucket, key: "gone" }]);
      await store.commit([{ op: "delete", bucket, key: "gone" }]);
      expect(await store.get(bucket, "gone")).toBeUndefined();
    });

    test("list() sorts by bytes and filters by prefix, other buckets left out", async () => {
      await store.commit([
        put("l/b", "2"),
        put("l/a", "1"),
        put("l/é", "4"),
        put("l/a/x", "3"),
        put("l0", "9"),
        put("m", "9"),
        { op: "put", bucket: `${bucket}-other`, key: "l/a", value: "8" },
      ]);
      const keys = async (prefix?: string) => (await store.list(bucket, prefix)).map((entry) => entry.key);
      expect(await keys("l/")).toEqual(["l/a", "l/a/x", "l/b", "l/é"]);
      expect(await keys("l/a")).toEqual(["l/a", "l/a/x"]);
      expect(await keys("none")).toEqual([]);
      expect(await keys()).toEqual([...(await keys())].sort());
      expect((await store.list(bucket, "l/b"))[0]?.value).toBe("2");
      await store.commit([{ op: "delete", bucket: `${bucket}-other`, key: "l/a" }]);
    });

    test("commit() checks each kind of condition", async () => {
      await store.commit([put("c", "1")], [{ is: "absent", bucket, key: "c" }]);
      const fails = (code: string) => expect.objectContaining({ code });
      expect(store.commit([put("c", "2")], [{ is: "absent", bucket, key: "c" }])).rejects.toEqual(
        fails("already_exists"),
      );
      expect(store.commit([put("d", "2")], [{ is: "present", bucket, key: "d" }])).rejects.toEqual(
        fails("not_found"),
      );
      expect(store.commit([put("c", "2")], [{ is: "equals", bucket, key: "c", value: "7" }])).rejects.toEqual(
        fails("aborted"),
      );
      await store.commit([put("c", "3")], [{ is: "equals", bucket, key: "c", value: "1" }]);
      expect(await store.get(bucket, "c")).toBe("3");
      expect(await store.get(bucket, "d")).toBeUndefined();
    });

    test("commit() makes no change when one condition of several fails", async () => {
      const conditions = [
        { is: "absent", bucket, key: "n1" },
        { is: "present", bucket, key: "n2" },
      ] as const;
      await store.commit([put("n1", "1"), put("n3", "1")], conditions).catch(() => {});
      expect(await store.get(bucket, "n1")).toBeUndefined();
      expect(await store.get(bucket, "n3")).toBeUndefined();
    });

    test("commit() lets exactly one of many racing writers win", async () => {
      const racers = Array.from({ length: 20 }, (_, i) =>
        store.commit([put("race", String(i))], [{ is: "absent", bucket, key: "race" }]),
      );
      const results = await Promise.allSettled(racers);
      expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    });

    test("values keep every character", async () => {
      const value = JSON.stringify({ text: 'ü\u0000"\\\n\u{1F600}', big: "x".repeat(300_000) });
      await store.commit([put("text", value)]);
      expect(await store.get(bucket, "text")).toBe(value);
    });

    test("collection() reads and writes typed values", async () => {
      const things = collection<{ n: number }>(store, bucket);
      await store.commit([things.put("t/1", { n: 1 })], [things.absent("t/1")]);
      const read = await things.get("t/1");
      expect(read).toEqual({ n: 1 });
      await store.commit([things.put("t/1", { n: 2 })], [things.equals("t/1", { n: 1 })]);
      expect(await things.list("t/")).toEqual([{ key: "t/1", value: { n: 2 } }]);
      await store.commit([things.delete("t/1")], [things.present("t/1")]);
      expect(await things.get("t/1")).toBeUndefined();
    });
  });
}
