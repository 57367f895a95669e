/** How many tests of the specification hold for which runtime: `npm run matrix [-- RUNTIME…]`. A comparison, no check. */
import fs from "node:fs";
import path from "node:path";
import { findExecutable } from "@longshore/suite";
import { runc } from "./playground.ts";

interface Column {
  name: string;
  runtime: string;
  /** See only the unified hierarchy. */
  unified: boolean;
}

const suites = fs
  .readdirSync(import.meta.dir)
  .flatMap(
    (name) => /^((?:validation-(?!cgroup2)|security|leftovers)[\w-]*)\.test\.ts$/.exec(name)?.[1] ?? [],
  );

function count(suite: string, { runtime, unified }: Column): string {
  const file = path.join(import.meta.dir, `${suite}.test.ts`);
  const command = [process.execPath, "test", "--timeout", "60000", file];
  const inside = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /sys/fs/cgroup && exec "$@"'];
  const { stderr } = Bun.spawnSync(unified ? [...inside, "/sys/fs/cgroup/unified", ...command] : command, {
    env: { ...process.env, LONGSHORE_RUNC: runtime },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 280_000,
  });
  const number = (what: string) =>
    Number(new RegExp(`^ (\\d+) ${what}$`, "m").exec(stderr.toString())?.[1] ?? 0);
  return `${number("pass")} of ${number("pass") + number("fail")}`;
}

const asked = process.argv.slice(2).map((runtime) => path.resolve(runtime));
const others = ["runc", "crun"].map(findExecutable).filter((file) => file !== undefined);
const hybrid = fs.existsSync("/sys/fs/cgroup/unified/cgroup.controllers");
const columns: Column[] = [runc, ...(asked.length > 0 ? asked : others)].flatMap((runtime) => {
  const name = runtime === runc ? "ours" : path.basename(runtime);
  const plain = { name, runtime, unified: false };
  return hybrid ? [plain, { name: `${name}, v2`, runtime, unified: true }] : [plain];
});

/** Lines are printed as they come: the whole takes minutes. */
const first = Math.max(...suites.map((suite) => suite.length));
const line = (cells: string[]) =>
  cells.map((cell, column) => cell.padEnd(column === 0 ? first : 13)).join("  ");
console.log(line(["", ...columns.map(({ name }) => name)]).trimEnd());
for (const suite of suites) console.log(line([suite, ...columns.map((one) => count(suite, one))]).trimEnd());
