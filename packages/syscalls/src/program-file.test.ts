import { expect, test } from "bun:test";
import path from "node:path";

const INDEX = path.join(import.meta.dir, "index.ts");

/** Run a script that ends as another program; its output and status. */
async function run(script: string) {
  const child = Bun.spawn([process.execPath, "-e", script], {
    // One thread, as in the processes that this is for.
    env: {
      ...process.env,
      BUN_JSC_useConcurrentJIT: "0",
      BUN_JSC_numberOfGCMarkers: "1",
      BUN_JSC_useConcurrentGC: "0",
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  return { text: await new Response(child.stdout).text(), status: await child.exited, pid: child.pid };
}

test("a process becomes a small program, which waits, and goes back when a call fails", async () => {
  // The first call that is repeated fails until there is something to read, which a child of the shell sees to.
  const { text, status, pid } = await run(`
    const s = await import(${JSON.stringify(INDEX)});
    const [readEnd, writeEnd] = s.pipe();
    Bun.spawn(["sh", "-c", "sleep 0.3; echo x >&" + 3], { stdio: ["ignore", "ignore", "ignore", writeEnd] });
    s.fcntl(readEnd, s.F_SETFL, s.O_NONBLOCK);
    s.fcntl(readEnd, s.F_SETFD, 0);
    const table = s.programTable(8, 4096, "waits");
    const { arena } = table;
    const pause = arena.room(16);
    arena.put64(pause + 8, 10_000_000);
    const byte = arena.base + arena.room(8);
    table.add("getpid", []);
    table.add("read", [readEnd, byte, 1], { skipOnError: 0, skipOnOk: 1 });
    table.add("nanosleep", [arena.base + pause, 0], { skipOnError: -3, skipOnOk: -3 });
    table.add("write", [1, byte, 1]);
    table.add("exit_group", [7]);
    console.log(process.pid);
    s.becomeProgram(s.programFile(table), ["shown", "words"]);
  `);
  expect({ text, status }).toEqual({ text: `${pid}\nx`, status: 7 });
});

test("signals that are blocked wait, a descriptor says so, and they come in the end", async () => {
  const { text } = await run(`
    const s = await import(${JSON.stringify(INDEX)});
    const heard = [];
    process.on("SIGUSR2", () => heard.push("SIGUSR2"));
    s.blockSignals([12, 35]);
    const fd = s.signalFd([12]);
    const ready = () => s.poll([{ fd, events: 1 }], 0)[0]?.readable;
    const before = ready();
    // To this thread, for the process has others; and without a turn of the event loop, which waits with no signal blocked.
    s.syscall(234, process.pid, s.syscall(186), 12);
    const during = ready();
    const mask = s.readText("/proc/thread-self/status").match(/SigBlk:\\t(.*)/)[1];
    console.log(JSON.stringify([before, during, heard.length, mask]));
    s.unblockSignals([12, 35]);
    await Bun.sleep(20);
    console.log(JSON.stringify([ready(), heard]));
  `);
  expect(text).toBe('[false,true,0,"0000000400000800"]\n[false,["SIGUSR2"]]\n');
});
