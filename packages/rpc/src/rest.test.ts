import { expect, test } from "bun:test";
import path from "node:path";

/** Whether garbage is still there after a while, in a process that collects none by itself. */
async function keepsGarbage(script: string, ms = 500): Promise<boolean> {
  const source = `
    const { tidyAtRest } = await import(${JSON.stringify(path.join(import.meta.dir, "rest.ts"))});
    const make = () => new WeakRef({ some: "thing" });
    const garbage = Array.from({ length: 100 }, make);
    ${script};
    await Bun.sleep(${ms});
    console.log(garbage.every((ref) => ref.deref() !== undefined));
    process.exit();`;
  const env = { ...process.env, BUN_GC_TIMER_DISABLE: "1" };
  const child = Bun.spawn([process.execPath, "-e", source], { env, stdio: ["ignore", "pipe", "inherit"] });
  return JSON.parse(await new Response(child.stdout).text());
}

test("tidyAtRest() collects once nothing has come for a while, and not before", async () => {
  expect(await keepsGarbage("")).toBe(true);
  expect(await keepsGarbage("tidyAtRest({ quietMs: 100 })")).toBe(false);
  expect(await keepsGarbage("setInterval(tidyAtRest({ quietMs: 1000 }), 10)", 1500)).toBe(true);
  expect(
    await keepsGarbage("tidyAtRest({ quietMs: 300 })(), tidyAtRest({ quietMs: 10, code: true })()"),
  ).toBe(false);
});
