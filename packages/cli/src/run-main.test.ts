import { afterAll, expect, test } from "bun:test";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const index = path.join(import.meta.dir, "index.ts");

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "cli-test-"));
afterAll(() => fs.rmSync(dir, { recursive: true }));

/** Run a binary whose main is the given body, and return how it ended. */
async function run(body: string, args: string[], signal?: NodeJS.Signals) {
  const script = `import { runMain, UsageError } from ${JSON.stringify(index)};
runMain("demo", { help: "Usage: demo\\n", usageExitCode: 125 }, async (argv, signal) => { ${body} });`;
  const file = path.join(dir, "demo.ts");
  fs.writeFileSync(file, script);
  const child = Bun.spawn([process.execPath, file, ...args], { stdout: "pipe", stderr: "pipe" });
  if (signal) {
    const { value } = await child.stdout.values().next();
    expect(Buffer.from(value ?? []).toString()).toBe("ready\n");
    child.kill(signal);
  }
  const stdout = signal ? "" : await new Response(child.stdout).text();
  return { code: await child.exited, stdout, stderr: await new Response(child.stderr).text() };
}

test("runMain() answers --version and --help without running main", async () => {
  expect(await run("return 7;", ["--version"])).toMatchObject({
    code: 0,
    stdout: "demo version 0.1.0 (longshore)\n",
  });
  expect(await run("return 7;", ["--help"])).toMatchObject({ code: 0, stdout: "Usage: demo\n" });
});

test("runMain() exits with what main returns", async () => {
  expect(await run("return argv.length;", ["a", "b"])).toMatchObject({ code: 2, stdout: "", stderr: "" });
});

test("runMain() prints an error as one line, and its stack only with --debug", async () => {
  expect(await run('throw new Error("no room");', [])).toMatchObject({ code: 1, stderr: "demo: no room\n" });
  expect((await run('throw new Error("no room");', ["--debug"])).stderr).toMatch(
    /^demo: no room\n.*\n? +at /,
  );
  expect(await run('throw new UsageError("unknown flag: --x");', [])).toMatchObject({
    code: 125,
    stderr: "demo: unknown flag: --x\n",
  });
});

test("runMain() makes SIGTERM an abort and lets main finish", async () => {
  const body = `const timer = setInterval(() => {}, 1000);
    await new Promise((resolve) => { signal.addEventListener("abort", resolve); console.log("ready"); });
    clearInterval(timer);
    return 3;`;
  expect(await run(body, [], "SIGTERM")).toMatchObject({ code: 3, stderr: "" });
});
