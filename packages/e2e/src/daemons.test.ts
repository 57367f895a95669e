/** Each daemon as a process of its own: how it logs, and how it ends. */
import { afterAll, expect, test } from "bun:test";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { eventually, output, run, tempDir } from "@longshore/testkit";
import { binDir } from "./world.ts";

const temp = tempDir();
const bridge = `lst${crypto.randomBytes(3).toString("hex")}`;
afterAll(async () => {
  await output([path.join(binDir, "dockerd"), ...DAEMONS.dockerd, "--uninstall"]);
  temp[Symbol.dispose]();
});

const at = (name: string) => path.join(temp.path, name);
const DAEMONS = {
  containerd: ["--address", at("c.sock"), "--root", at("root"), "--state", at("state")],
  "registry-client": ["serve", "--address", at("r.sock"), "--containerd", at("c.sock")],
  dockerd: [
    ...["--host", `unix://${at("d.sock")}`, "--data-root", at("data"), "--exec-root", at("exec")],
    ...["--containerd", at("c.sock"), "--registry-client", at("r.sock"), "--bridge", bridge],
    ...["--pidfile", at("d.pid")],
  ],
};
type Name = keyof typeof DAEMONS;
const names = Object.keys(DAEMONS) as Name[];
const SOCKETS: Record<Name, string> = {
  containerd: at("c.sock"),
  "registry-client": at("r.sock"),
  dockerd: at("d.sock"),
};

/** Start them one after the other, end them the other way round, and give what each wrote and how it ended. */
async function lives(spawn: (name: Name, argv: string[], write: (text: string) => void) => Bun.Subprocess) {
  const started: { name: Name; child: Bun.Subprocess; text: string }[] = [];
  try {
    for (const name of names) {
      const daemon = { name, text: "" } as (typeof started)[number];
      daemon.child = spawn(name, [path.join(binDir, name), ...DAEMONS[name]], (text) => {
        daemon.text += text;
      });
      started.push(daemon);
      await eventually(() => daemon.text.includes("serving") || daemon.child.exitCode !== null, {
        what: name,
      });
      expect({ name, sockets: fs.existsSync(SOCKETS[name]), text: daemon.text }).toMatchObject({
        sockets: true,
      });
    }
    for (const { name, child } of started.toReversed()) {
      const began = performance.now();
      child.kill("SIGTERM");
      expect({ name, status: await child.exited }).toEqual({ name, status: 0 });
      expect(performance.now() - began).toBeLessThan(5000);
      expect(fs.existsSync(SOCKETS[name])).toBe(false);
    }
    expect(fs.existsSync(at("d.pid"))).toBe(false);
    return started;
  } finally {
    for (const { child } of started) child.kill("SIGKILL");
  }
}

test("they log lines of JSON as pino writes them, and end with 0 on SIGTERM, their sockets removed", async () => {
  const ended = await lives((_, argv, write) => {
    const child = Bun.spawn(argv, { stdio: ["ignore", "ignore", "pipe"] });
    void (async () => {
      const decoder = new TextDecoder();
      for await (const chunk of child.stderr) write(decoder.decode(chunk, { stream: true }));
    })();
    return child;
  });
  for (const { name, child, text } of ended) {
    const lines = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.map((line) => line.msg)).toContain("serving");
    for (const line of lines) {
      expect(line).toMatchObject({
        name,
        level: expect.any(Number),
        time: expect.any(Number),
        pid: child.pid,
      });
    }
  }
});

test("on a terminal their lines are for people", async () => {
  const ended = await lives((_, argv, write) =>
    Bun.spawn(argv, { terminal: { data: (_terminal, bytes) => write(Buffer.from(bytes).toString()) } }),
  );
  for (const { name, text } of ended) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is looked for
    expect(text).toMatch(/\[\d\d:\d\d:\d\d\.\d{3}\] \x1b\[32mINFO\x1b\[39m \(/);
    expect(text).toContain(`(${name}/`);
    expect(text).not.toContain('{"level"');
  }
});

test("a wrong flag is one line, and a status that isn't 0", async () => {
  for (const name of [...names, "docker", "runc", "containerd-shim-runc-v2"]) {
    const { status, stderr } = await run([path.join(binDir, name), "--no-such-flag"]);
    expect({ name, failed: status > 0 }).toEqual({ name, failed: true });
    expect(stderr).toContain("no-such-flag");
    expect(stderr).not.toContain("    at ");
  }
});
