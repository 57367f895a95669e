import { expect, test } from "bun:test";
import fs from "node:fs";
import { CLONE_NEWPID, close, Hand, O_CLOEXEC, openFile } from "@longshore/syscalls";
import { makeProcInside } from "./proc-mount.ts";

const it = process.getuid?.() === 0 ? test : test.skip;

it("makeProcInside() gives a procfs of another pid namespace, also where the kernel has no option for it", () => {
  using init = new Hand({ flags: CLONE_NEWPID });
  init.run();
  const pidFd = openFile(`/proc/${init.pid}/ns/pid`, O_CLOEXEC);
  using own = new Hand({ flags: 0x20000 }); // CLONE_NEWNS
  own.run();
  const mount = makeProcInside(own.pid, { pidFd, ownUsers: false, options: ["hidepid=0"], attributes: 2 });
  const seen = fs.readdirSync(`/proc/self/fd/${mount}`).filter((name) => /^\d+$/.test(name));
  expect(seen).toEqual(["1"]);
  close(mount);
  close(pidFd);
});
