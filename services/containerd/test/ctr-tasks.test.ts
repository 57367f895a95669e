import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { eventually } from "@longshore/testkit";
import { boxImage, writeArchive } from "./box-image.ts";
import { type Row, runTable, type Values } from "./ctr-table.ts";
import { Daemon, haveCtr, present, SHIMS } from "./daemon.ts";

setDefaultTimeout(60_000);

let daemon: Daemon;
const values: Values = {};
const inDir = (name: string) => path.join(daemon.dir.path, name);
const read = (name: string) => fs.readFileSync(inDir(name), "utf8");
const sh = (script: string) => ["/bin/sh", "-c", script];
const processes = async (id: string) => (await daemon.out("tasks", "ps", id)).split("\n").length - 1;

/** Repeats what it is told, until it is told to end. */
const PARROT = sh("while read line; do echo got $line; [ $line = bye ] && exit 5; done");

const TASKS: Row[] = [
  {
    ctr: "run -d --cgroup {cgroup}/t --pid-file {dir}/pid --fifo-dir {dir}/fifos {image} t",
    words: PARROT,
    effect: () => {
      expect(fs.readFileSync(`/proc/${read("pid")}/comm`, "utf8")).toBe("sh\n");
      expect(fs.globSync(inDir("fifos/**/t-stdout"))).toHaveLength(1);
    },
  },
  { ctr: "tasks ls", out: /^t +\d+ +RUNNING/m },
  { ctr: "tasks ls -q", out: "t\n" },
  { ctr: "tasks start -d t", fails: /already exists/ },
  { ctr: "tasks ps t", out: /^PID +INFO *\n\d+ +-/ },
  { ctr: "tasks metrics t", out: /memory\.(usage_in_bytes|usage)/ },
  { ctr: "tasks metrics --format json t", out: /^\{/ },
  { ctr: "tasks metrics none", fails: /not found/ },
  {
    ctr: "tasks exec --exec-id e --cwd /tmp --user user t",
    words: sh("pwd; id -u; id -g; sleep 0.3; exit 4"),
    out: "/tmp\n1000\n1001\n",
    status: 4,
  },
  { ctr: "tasks exec --exec-id e --user 7:8 t", words: sh("id -u; id -g; sleep 0.3"), out: "7\n8\n" },
  {
    ctr: "tasks exec --exec-id e --tty t",
    terminal: true,
    words: sh("tty; sleep 0.3"),
    out: /\/dev\/pts\/\d\r+\n/,
  },
  {
    ctr: "tasks exec --exec-id e t",
    stdin: "from stdin\n",
    words: sh("read line; echo $line; sleep 0.3"),
    out: "from stdin\n",
  },
  { ctr: "tasks exec --exec-id e t", words: ["/no/such/command"], fails: /\/no\/such\/command/ },
  { ctr: "tasks exec --exec-id bad,id --detach t", words: ["true"], fails: /must match/ },
  {
    ctr: "tasks exec --exec-id logged --detach --log-uri file://{dir}/exec.log t",
    words: sh("echo to the log"),
    effect: () => expect(read("exec.log")).toBe("to the log\n"),
  },
  { ctr: "tasks delete --exec-id logged t", out: "" },
  {
    ctr: "tasks exec --exec-id long --detach t",
    words: ["sleep", "1000"],
    effect: async () => expect(await processes("t")).toBe(2),
  },
  { ctr: "tasks exec --exec-id long --detach t", words: ["sleep", "1000"], fails: /already exists/ },
  { ctr: "tasks delete --exec-id long t", fails: /process must be|cannot delete a running process/ },
  {
    ctr: "tasks kill --exec-id long --signal SIGKILL t",
    effect: async () => expect(await processes("t")).toBe(1),
  },
  { ctr: "tasks delete --exec-id long t", status: 137 },
  { ctr: "tasks kill --exec-id long t", fails: /not found/ },
  { ctr: "tasks pause t", effect: async () => expect(await daemon.status("t")).toBe("PAUSED") },
  { ctr: "tasks resume t", effect: async () => expect(await daemon.status("t")).toBe("RUNNING") },
  { ctr: "tasks checkpoint t", fails: /checkpointing is not supported/ },
  { ctr: "containers checkpoint --task t example.test/none:1", fails: /checkpointing is not supported/ },
  { ctr: "containers delete t", fails: /cannot delete a non stopped container/ },
  { ctr: "tasks delete t", fails: /process must be|task must be stopped|cannot delete|is not stopped/ },
  { ctr: "tasks attach t", stdin: "line\nbye\n", out: "got line\ngot bye\n", status: 5 },
  { ctr: "tasks ls -q", out: "" },
  { ctr: "tasks kill t", fails: /not found/ },
  // Without anything to read it ends at once.
  { ctr: "tasks start --null-io -d t", effect: async () => expect(await daemon.status("t")).toBe("STOPPED") },
  { ctr: "tasks delete t" },
  {
    ctr: "tasks start --log-uri file://{dir}/task.log --pid-file {dir}/pid t",
    effect: () => expect(Number(read("pid"))).toBeGreaterThan(1),
  },
  { ctr: "tasks delete t", fails: /not found/ },
  { ctr: "containers delete t" },
  {
    ctr: "run -d --cgroup {cgroup}/t --log-uri file://{dir}/run.log {image} l",
    // The original's shim may lose what is written just before the end.
    words: sh("echo logged; echo err >&2; sleep 0.5"),
    effect: async () => {
      expect(read("run.log").split("\n").sort()).toEqual(["", "err", "logged"]);
      expect(await daemon.status("l")).toBe("STOPPED");
    },
  },
  { ctr: "tasks delete l" },
  { ctr: "containers delete l" },
  { ctr: "run -d --cgroup {cgroup}/t {image} k", words: sh("sleep 1000 & sleep 1000") },
  { ctr: "tasks kill --signal NONSENSE k", fails: /invalid signal/ },
  {
    ctr: "tasks kill --all --signal 9 k",
    effect: async () => expect(await daemon.status("k")).toBe("STOPPED"),
  },
  { ctr: "tasks delete k", warns: /exit with non-zero exit code 137/ },
  { ctr: "tasks start -d k" },
  { ctr: "tasks delete --force k", warns: /exit code 137/ },
  { ctr: "containers delete k" },
];

const BINARY_LOGGER: Row[] = [
  {
    ctr: "run -d --cgroup {cgroup}/t --log-uri binary://{dir}/logger {image} b",
    words: sh("echo to the logger"),
    effect: () => expect(read("logger.out")).toBe(`${daemon.namespace} b to the logger\n`),
  },
  { ctr: "tasks delete b" },
  { ctr: "containers delete b" },
];

/** Past the daemon. */
const SHIM: Row[] = [
  { ctr: "run -d --cgroup {cgroup}/t {image} s", words: ["sleep", "1000"] },
  { ctr: "shim --id s state", out: /"id": "s"/ },
  { ctr: "shim --id none state", fails: /fail to connect to container none's shim/ },
  { ctr: "shim --id s start", fails: /container not created|process already finished|not found/ },
  { ctr: "shim --id s delete s", fails: /cannot delete a running process|must be stopped/ },
  { ctr: "tasks kill --signal 9 s", effect: async () => expect(await daemon.status("s")).toBe("STOPPED") },
  { ctr: "shim --id s delete s" },
  // The daemon finds out when it is asked, and takes away what is left.
  { ctr: "tasks delete s", fails: /not found/ },
  { ctr: "containers delete s" },
];

describe.skipIf(!haveCtr)("Debian's ctr", () => {
  for (const shim of present) {
    describe(`tasks, with ${shim.name}`, () => {
      beforeAll(async () => {
        // Where ctr looks for the sockets of shims.
        daemon = new Daemon({ shim, socketDir: "/run/containerd" });
        await daemon.start();
        const dir = daemon.dir.path;
        const archive = writeArchive(boxImage(dir), dir, "v1");
        await daemon.out("images", "import", "--base-name", "example.test/box", archive);
        fs.mkdirSync(inDir("fifos"));
        const logger = `{ printf '%s %s ' "$CONTAINER_NAMESPACE" "$CONTAINER_ID"; cat <&3; } > ${inDir("logger.out")}`;
        fs.writeFileSync(inDir("logger"), `#!/bin/sh\nexec 5>&-\n${logger}\n`, { mode: 0o755 });
        Object.assign(values, { dir, cgroup: daemon.cgroup, image: "example.test/box:v1" });
      });
      afterAll(async () => daemon[Symbol.asyncDispose]());

      const table = (rows: readonly Row[]) =>
        runTable(
          () => daemon,
          () => values,
          rows,
        );
      table(TASKS);
      if (shim === SHIMS[0]) table(BINARY_LOGGER);
      table(SHIM);

      test("nothing is left", async () => {
        expect(await daemon.out("containers", "ls", "-q")).toBe("");
        await eventually(() => daemon.leaks().length === 0, { what: `no leaks: ${daemon.leaks()}` });
      });
    });
  }
});
