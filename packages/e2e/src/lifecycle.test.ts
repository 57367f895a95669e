import { afterEach, describe, expect, test } from "bun:test";
import fs from "node:fs";
import { eventually } from "@longshore/testkit";
import { clis, useWorld } from "./world.ts";

const world = useWorld();

/** The columns of a table whose header names stand three spaces or more apart. */
function rows(table: string): string[][] {
  return table.split("\n").map((line) => line.split(/ {3,}/));
}

describe.each(clis)("one container's life by $name", (cli) => {
  const docker = (...args: string[]) => world().docker(cli)(...args);

  // One failed test shall not fail the next by its container's name.
  afterEach(async () => {
    const ids = await world().docker()("ps", "-aq");
    if (ids !== "") await world().docker()("rm", "-f", ...ids.split("\n"));
  });

  test("run -itd, ps, exec, logs, stop, ps -a, start, rm -f", async () => {
    const id = await docker("run", "-itd", "--name", "life", world().busybox, "/bin/sh");
    expect(id).toMatch(/^[0-9a-f]{64}$/);

    const [header, row] = rows(await docker("ps"));
    expect(header).toEqual(["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]);
    expect(row?.[0]).toBe(id.slice(0, 12));
    expect(row?.[1]).toBe(world().busybox);
    expect(row?.[2]).toBe('"/bin/sh"');
    expect(row?.[4]).toMatch(/^Up /);
    expect(row?.at(-1)).toBe("life");

    expect(await docker("exec", "life", "echo", "from exec")).toBe("from exec");
    const failing = await world().docker(cli).run(["exec", "life", "sh", "-c", "echo bad >&2; exit 9"]);
    expect(failing).toEqual({ status: 9, stdout: "", stderr: "bad\n" });
    const session = await world()
      .docker(cli)
      .run(["exec", "-it", "life", "sh"], { terminal: true, stdin: "tty; echo $((6 * 7))\nexit 5\n" });
    expect(session.stdout).toContain("/dev/pts/1\r\n42\r\n");
    expect(session.status).toBe(5);
    const piped = await world()
      .docker(cli)
      .run(["exec", "-i", "life", "tr", "a-z", "A-Z"], { stdin: "shout\n" });
    expect(piped).toEqual({ status: 0, stdout: "SHOUT\n", stderr: "" });

    expect(await docker("stop", "-t", "1", "life")).toBe("life");
    expect(await docker("ps", "-q")).toBe("");
    const [, stopped] = rows(await docker("ps", "-a"));
    expect(stopped?.[4]).toMatch(/^Exited \(137\) /);

    expect(await docker("start", "life")).toBe("life");
    expect((await docker("ps", "-q", "--no-trunc")).split("\n")).toEqual([id]);
    expect(await docker("exec", "life", "echo", "again")).toBe("again");

    const refused = await world().docker(cli).run(["rm", "life"]);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(/container is running|running container/);
    expect(await docker("rm", "-f", "life")).toBe("life");
    expect(await docker("ps", "-aq")).toBe("");
  });

  test("logs has both streams, from the start of the container, and what an exited one wrote", async () => {
    await docker(
      "run",
      "-d",
      "--name",
      "talker",
      world().busybox,
      "sh",
      "-c",
      "echo one; echo two >&2; sleep 0.2; echo three",
    );
    await eventually(async () => (await docker("ps", "-q")) === "", { what: "the end of talker" });
    const { stdout, stderr } = await world().docker(cli).run(["logs", "talker"]);
    expect({ stdout, stderr }).toEqual({ stdout: "one\nthree\n", stderr: "two\n" });
    expect((await world().docker(cli).run(["logs", "--tail", "1", "talker"])).stdout).toBe("three\n");
    await docker("rm", "talker");
  });

  test("logs reads rotated files that were compressed; a wrong log option is told in Docker's words", async () => {
    const limits = ["--log-opt", "max-size=20k", "--log-opt", "max-file=30", "--log-opt", "compress=true"];
    const id = await docker("run", "-d", ...limits, world().busybox, "seq", "4000");
    await eventually(async () => (await docker("ps", "-q")) === "", { what: "the end of seq" });
    const log = await docker("inspect", "-f", "{{.LogPath}}", id);
    await eventually(() => !fs.existsSync(`${log}.1`), { what: "the compression" });
    expect(fs.existsSync(`${log}.1.gz`)).toBe(true);
    const lines = Array.from({ length: 4000 }, (_, i) => `${i + 1}`);
    expect((await docker("logs", id)).split("\n")).toEqual(lines);
    expect((await docker("logs", "--tail", "1500", id)).split("\n")).toEqual(lines.slice(-1500));
    await docker("rm", id);
    const { status, stderr } = await world()
      .docker(cli)
      .run(["run", "--rm", "--log-opt", "compress=true", world().busybox, "true"]);
    expect(status).toBe(125);
    expect(stderr).toContain("compress cannot be true when max-file is less than 2 or max-size is not set");
  });

  test("logs -f follows until the container ends", async () => {
    await docker(
      "run",
      "-d",
      "--name",
      "slow",
      world().busybox,
      "sh",
      "-c",
      "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done",
    );
    const { status, stdout } = await world().docker(cli).run(["logs", "-f", "slow"]);
    expect({ status, stdout }).toEqual({ status: 0, stdout: "1\n2\n3\n4\n5\n" });
    await docker("rm", "slow");
  });

  test("stop sends SIGTERM first, and the command's own answer to it is the exit status", async () => {
    const script = 'trap "echo stopping; exit 33" TERM; echo ready; while :; do sleep 0.05; done';
    await docker("run", "-d", "--name", "polite", world().busybox, "sh", "-c", script);
    await eventually(async () => (await docker("logs", "polite")).includes("ready"));
    await docker("stop", "polite");
    expect(await docker("logs", "polite")).toBe("ready\nstopping");
    expect(rows(await docker("ps", "-a"))[1]?.[4]).toMatch(/^Exited \(33\) /);
    await docker("rm", "polite");
  });

  test("images and version", async () => {
    const [header, row] = rows(await docker("images"));
    const slash = world().busybox.lastIndexOf(":");
    expect(header?.[0]).toStartWith("REPOSITORY");
    expect(row?.slice(0, 2)).toEqual([world().busybox.slice(0, slash), "1"]);
    const version = await docker("version");
    expect(version).toMatch(/^Client:/m);
    expect(version).toMatch(/^Server:/m);
    expect(version).toContain("API version");
  });

  test("nothing is left behind", async () => {
    expect(await world().engine.leaks()).toEqual([]);
  });
});
