import { expect, test } from "bun:test";
import path from "node:path";

const INDEX = path.join(import.meta.dir, "index.ts");

/** What a process that renames itself (to an array, as JavaScript) says of that, and what /proc shows of it then. */
async function renamed(words: string, room: string): Promise<{ fits: boolean; shown: string[] }> {
  const script = `
    const { renameCommandLine } = await import(${JSON.stringify(INDEX)});
    const fits = renameCommandLine(${words});
    const shown = await Bun.file("/proc/self/cmdline").text();
    console.log(JSON.stringify({ fits, shown: shown.split("\\0") }));`;
  const child = Bun.spawn([process.execPath, "-e", script, room], { stdio: ["ignore", "pipe", "inherit"] });
  return JSON.parse(await new Response(child.stdout).text());
}

test("a process shows another command line than it was started with", async () => {
  const words = ["shim", "-id", "wörds with spaces", "start"];
  const { fits, shown } = await renamed(JSON.stringify(words), "x".repeat(100));
  expect(fits).toBe(true);
  expect(shown.slice(0, words.length)).toEqual(words);
  expect(shown.slice(words.length).every((word) => word === "")).toBe(true);
});

test("one without room for it keeps its own", async () => {
  const { fits, shown } = await renamed('["y".repeat(20_000)]', "last");
  expect(fits).toBe(false);
  expect(shown).toContain("last");
});
