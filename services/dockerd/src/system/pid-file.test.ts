import { expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { tempDir } from "@longshore/testkit";
import { writePidFile } from "./pid-file.ts";

test("writePidFile() takes over what nobody has, refuses what a process of our name has, and takes its own away", async () => {
  using dir = tempDir();
  const file = path.join(dir.path, "run", "dockerd.pid");
  const mine = `${process.pid}\n`;
  {
    using _ = writePidFile(file);
    expect(fs.readFileSync(file, "utf8")).toBe(mine);
  }
  expect(fs.existsSync(file)).toBe(false);

  // A number that nobody has, a number that another program has, and an empty file.
  const other = Bun.spawn(["sleep", "1000"]);
  for (const text of ["2147483000", `${other.pid}`, ""]) {
    fs.writeFileSync(file, text);
    using _ = writePidFile(file);
    expect(fs.readFileSync(file, "utf8")).toBe(mine);
  }
  other.kill();
  await other.exited;

  const same = Bun.spawn([process.execPath, "-e", "setTimeout(() => {}, 1e9)"]);
  fs.writeFileSync(file, `${same.pid}`);
  expect(() => writePidFile(file)).toThrow(
    `ensure docker is not running or delete ${file}: process with PID ${same.pid} is still running`,
  );
  expect(fs.readFileSync(file, "utf8")).toBe(`${same.pid}`);
  same.kill();
  await same.exited;
  {
    using _ = writePidFile(file);
    expect(fs.readFileSync(file, "utf8")).toBe(mine);
    fs.writeFileSync(file, "77");
  }
  expect(fs.readFileSync(file, "utf8")).toBe("77");

  fs.writeFileSync(file, "precious");
  expect(() => writePidFile(file)).toThrow("holds something else than a process id");
  expect(fs.readFileSync(file, "utf8")).toBe("precious");
});
