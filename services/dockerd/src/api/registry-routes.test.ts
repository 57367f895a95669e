import { expect, test } from "bun:test";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import { registryRoutes } from "./registry-routes.ts";

/** What `GET /images/search` answers of a repository that its index calls automated. */
async function searched(version: number, automated?: boolean): Promise<unknown> {
  const results = [{ name: "a/b", description: "", starCount: 1n, isOfficial: false, isAutomated: true }];
  const registry = { client: { search: async () => ({ results }) }, hosts: () => ({}) };
  const query = new URLSearchParams({ term: "b" });
  if (automated !== undefined) query.set("filters", JSON.stringify({ "is-automated": [String(automated)] }));
  let answer: unknown;
  const call = {
    query,
    request: { headers: {} },
    integer: () => undefined,
    atLeast: (than: string) => version >= Number(than.split(".")[1]),
    json: (_: number, value: unknown) => {
      answer = value;
    },
  };
  const route = registryRoutes({ registry } as unknown as Engine).find(
    ({ path }) => path === "/images/search",
  );
  await route?.handler(call as unknown as ApiCall);
  return (answer as { is_automated: boolean }[]).map((one) => one.is_automated);
}

test("search says what is automated, and finds it by that, before 1.45 only", async () => {
  expect(await searched(44)).toEqual([true]);
  expect(await searched(44, true)).toEqual([true]);
  expect(await searched(44, false)).toEqual([]);
  expect(await searched(45)).toEqual([false]);
  expect(await searched(45, true)).toEqual([]);
  expect(await searched(45, false)).toEqual([false]);
});
