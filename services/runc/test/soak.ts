/** Containers made and removed many times over: `npm run soak -- [--cycles N] [--parallel N]`. */
import fs from "node:fs";
import { parseArgs } from "node:util";
import { type Patch, Playground, runc } from "./playground.ts";

export interface SoakOptions {
  /** create, start, kill and delete so often, one after the other. */
  cycles: number;
  /** And of so many containers at once. */
  parallel: number;
  progress?: (line: string) => void;
}

export interface SoakReport {
  /** What is there now that was not before; empty when all is well. */
  left: string[];
  /** Milliseconds of one cycle: the median of the first and of the last tenth. */
  firstMs: number;
  lastMs: number;
}

const CONFIG: Patch = {
  process: { args: ["sleep", "1000"] },
  linux: {
    resources: { pids: { limit: 100 }, memory: { limit: 64 << 20 }, cpu: { shares: 512 } },
    seccomp: {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_ERRNO" }],
    },
  },
};

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

/** Run runc without blocking; throws when it fails. */
async function command(playground: Playground, ...args: string[]): Promise<void> {
  const child = Bun.spawn([runc, "--root", playground.root, ...args], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  const code = await child.exited;
  if (code !== 0) throw new Error(`runc ${args.join(" ")} exited with ${code}`);
}

async function stopped(playground: Playground, id: string): Promise<void> {
  const state = JSON.parse(fs.readFileSync(`${playground.root}/${id}/state.json`, "utf8")) as { pid: number };
  const alive = () => {
    try {
      return !/\) [ZX] /.test(fs.readFileSync(`/proc/${state.pid}/stat`, "utf8"));
    } catch {
      return false;
    }
  };
  for (let waited = 0; alive(); waited++) {
    if (waited > 5000) throw new Error(`${id} does not stop`);
    await Bun.sleep(1);
  }
}

async function cycle(playground: Playground, id: string, bundle: string): Promise<void> {
  await command(playground, "create", "--bundle", bundle, id);
  await command(playground, "start", id);
  await command(playground, "kill", id, "KILL");
  await stopped(playground, id);
  await command(playground, "delete", id);
}

/** Session keyrings of containers of ours. */
function keyrings(prefix: string): string[] {
  const keys = fs.existsSync("/proc/keys") ? fs.readFileSync("/proc/keys", "utf8").split("\n") : [];
  return keys.filter((line) => line.includes(`_ses.${prefix}`)).map((line) => `key ${line}`);
}

/** What is in a directory; nothing, where the directory isn't: not every machine mounts /dev/mqueue. */
const files = (dir: string): Set<string> => {
  const names = fs.existsSync(dir) ? fs.readdirSync(dir, { recursive: true, encoding: "utf8" }) : [];
  return new Set(names.map((name) => `file ${dir}/${name}`));
};

/** Do it, and look at what is left on the machine. */
export async function soak({ cycles, parallel, progress }: SoakOptions): Promise<SoakReport> {
  using playground = new Playground();
  const prefix = `soak${process.pid}x`;
  const bundleOf = (id: string) => {
    const bundle = `${playground.dir}/${id}`;
    fs.mkdirSync(bundle);
    playground.write(
      playground.config(CONFIG, {
        root: { path: playground.rootfs },
        linux: { cgroupsPath: playground.groupOf(id) },
      }),
      bundle,
    );
    return bundle;
  };
  // The first makes what is kept: the filter of system calls.
  const warm = bundleOf(`${prefix}warm`);
  await cycle(playground, `${prefix}warm`, warm);
  const before = new Set([...files(playground.dir), ...files("/dev/shm"), ...files("/dev/mqueue")]);

  const times: number[] = [];
  for (let index = 0; index < cycles; index++) {
    const began = performance.now();
    await cycle(playground, `${prefix}${index}`, warm);
    times.push(performance.now() - began);
    if ((index + 1) % 100 === 0) progress?.(`${index + 1} of ${cycles}`);
  }
  const ids = Array.from({ length: parallel }, (_, index) => `${prefix}p${index}`);
  const bundles = ids.map(bundleOf);
  await Promise.all(ids.map((id, index) => cycle(playground, id, bundles[index] ?? warm)));
  progress?.(`${parallel} at once`);
  for (const bundle of bundles) fs.rmSync(bundle, { recursive: true });

  // The kernel takes keyrings and cgroups away a moment after the process that they belonged to.
  let left: string[] = [];
  for (let waited = 0; waited < 100; waited++) {
    const now = [...files(playground.dir), ...files("/dev/shm"), ...files("/dev/mqueue")];
    left = [
      ...playground.leftovers(),
      ...keyrings(prefix),
      ...now.filter((name) => !before.has(name) && name.includes(prefix)),
    ];
    if (left.length === 0) break;
    await Bun.sleep(100);
  }
  const tenth = Math.max(1, Math.ceil(cycles / 10));
  return { left, firstMs: median(times.slice(0, tenth)), lastMs: median(times.slice(-tenth)) };
}

/** Of the kernel as a whole, in bytes: what only a leak makes grow with the number of cycles. */
function kernelMemory(): number {
  const line = /^SUnreclaim: +(\d+) kB$/m.exec(fs.readFileSync("/proc/meminfo", "utf8"))?.[1];
  return Number(line ?? 0) * 1024;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      cycles: { type: "string", default: "1000" },
      parallel: { type: "string", default: "50" },
    },
  });
  const memory = kernelMemory();
  const { left, firstMs, lastMs } = await soak({
    cycles: Number(values.cycles),
    parallel: Number(values.parallel),
    progress: (line) => console.error(line),
  });
  const grown = (kernelMemory() - memory) / 1e6;
  console.log(
    `${values.cycles} cycles of ${firstMs.toFixed(1)} ms at first and ${lastMs.toFixed(1)} ms at last; kernel memory ${grown.toFixed(1)} MB more; ${left.length} left behind`,
  );
  for (const line of left) console.log(line);
  process.exitCode = left.length > 0 ? 1 : 0;
}
