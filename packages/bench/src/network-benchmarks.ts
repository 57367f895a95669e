import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { findExecutable } from "@longshore/suite";
import { timed } from "./command.ts";
import { type Benchmark, type BenchmarkResult, type Contender, summarize } from "./measure.ts";
import { byEngine, type Stack } from "./stacks.ts";

const OTHERS = 500;
const FIRST_OTHER = 30_000;
/** The real engine starts a process for each port. */
const OTHERS_TIMEOUT_MS = 300_000;
const SECONDS = 2;
const CONNECTIONS = 32;
const LIBRARIES = ["/usr", "/lib", "/lib64"];
const ATTACH_LIMIT_MS = 10;
export const ATTACH = "attach to a bridge, one published port";

/** How fast connections and names get through an engine's network. */
export function networkBenchmarks(stacks: readonly Stack[], dir: string): Benchmark[] {
  const wrk = findExecutable("wrk");
  const sites = new Map(byEngine(stacks).map((stack) => [stack.contender, new Site(stack, dir)]));
  const load = (name: string, timesReal: number, host: (site: Site) => Promise<string>): Benchmark => ({
    ...{ name, unit: "/s", atLeast: { timesReal } },
    contenders: each(sites, async (site) => requestsPerSecond(wrk, await site.url(await host(site))).rate),
  });
  const throughPort: Benchmark[] = [
    load("requests, published port", 1, (site) => site.gateway()),
    load("requests, published port of 127.0.0.1", 2, async () => "127.0.0.1"),
    {
      ...{ name: "latency, published port", bar: 1 },
      contenders: each(
        sites,
        async (site) => requestsPerSecond(wrk, await site.url(await site.gateway())).ms,
      ),
    },
  ];
  return [
    ...(wrk ? throughPort : []),
    {
      ...{ name: "answers of the resolver", unit: "/s", atLeast: { timesReal: 2 } },
      contenders: each(sites, async (site) => (await site.answers()).rate),
    },
    {
      ...{ name: "latency of the resolver", bar: 1 },
      contenders: each(sites, async (site) => (await site.answers()).ms),
    },
  ];
}

function each(sites: ReadonlyMap<Contender, Site>, attempt: (site: Site) => Promise<number>) {
  return new Map([...sites].map(([contender, site]) => [contender, () => attempt(site)]));
}

/** Containers of one engine that are there as long as it is measured: a server with a published port, 500 other ports, two that know each other. */
class Site {
  readonly #stack: Stack;
  readonly #dir: string;
  #port: Promise<string> | undefined;
  #asker: Promise<string> | undefined;

  constructor(stack: Stack, dir: string) {
    this.#stack = stack;
    this.#dir = dir;
  }

  async url(host: string): Promise<string> {
    this.#port ??= this.#publish();
    return `http://${host}:${await this.#port}/`;
  }

  gateway(): Promise<string> {
    return this.#docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "bridge");
  }

  /** Of the resolver: how many a second when many are asked at a time, how long one takes when it is asked alone. */
  async answers(): Promise<{ rate: number; ms: number }> {
    this.#asker ??= this.#meet();
    const { stdout } = await timed(["nsenter", "-t", await this.#asker, "-n", bun(), program("dns-load.ts")]);
    return JSON.parse(stdout);
  }

  async #docker(...args: string[]): Promise<string> {
    const { docker, env } = this.#stack;
    return (await timed([docker, ...args], { env, timeoutMs: OTHERS_TIMEOUT_MS })).stdout;
  }

  async #publish(): Promise<string> {
    const { image, contender } = this.#stack;
    const ports = `${FIRST_OTHER}-${FIRST_OTHER + OTHERS - 1}`;
    // Both engines are on one machine: each has the ports of an address of its own.
    const others = contender === "real" ? "127.0.0.2" : "127.0.0.3";
    await this.#docker("run", "-d", "-p", `${others}:${ports}:${ports}`, image, "sleep", "100000");
    const files = path.join(this.#dir, `server-${contender}`);
    fs.mkdirSync(files);
    fs.copyFileSync(bun(), path.join(files, "bun"));
    fs.chmodSync(path.join(files, "bun"), 0o755);
    const source = 'Bun.serve({ port: 80, fetch: () => new Response("hello") });\n';
    fs.writeFileSync(path.join(files, "serve.js"), source);
    const mounts = LIBRARIES.filter((at) => fs.existsSync(at)).flatMap((at) => ["-v", `${at}:${at}:ro`]);
    const id = await this.#docker(
      ...["run", "-d", "-p", "80", "-v", `${files}:/server:ro`, ...mounts, image],
      ...["/server/bun", "/server/serve.js"],
    );
    return this.#docker(
      "inspect",
      "-f",
      '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}',
      id,
    );
  }

  /** The process id of a container that knows another as `peer`. */
  async #meet(): Promise<string> {
    const { image } = this.#stack;
    await this.#docker("network", "create", "meeting");
    const run = (name: string) =>
      this.#docker("run", "-d", "--network", "meeting", "--name", name, image, "sleep", "100000");
    await run("peer");
    return this.#docker("inspect", "-f", "{{.State.Pid}}", await run("asker"));
  }
}

/** What wrk finds: answers a second, and how long half of them took at most. */
function requestsPerSecond(wrk: string | undefined, url: string): { rate: number; ms: number } {
  const argv = ["-t1", `-c${CONNECTIONS}`, `-d${SECONDS}s`, "--latency", url];
  const { stdout, stderr, status } = spawnSync(wrk ?? "wrk", argv, { encoding: "utf8" });
  const rate = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]);
  const [, half, unit = ""] = /50%\s+([\d.]+)(us|ms|s)/.exec(stdout) ?? [];
  const factor = { us: 0.001, ms: 1, s: 1000 }[unit];
  if (status !== 0 || !(rate > 0) || factor === undefined) throw new Error(`wrk ${url}: ${stdout}${stderr}`);
  if (/Non-2xx|Socket errors/.test(stdout)) throw new Error(`wrk ${url}: ${stdout}`);
  return { rate, ms: Number(half) * factor };
}

/** Our part of a container's start that is its network: a namespace, an interface and a published port, in a network namespace of the run. */
export async function measureAttach(rounds: number): Promise<BenchmarkResult> {
  const argv = ["unshare", "-n", "-m", bun(), program("attach-samples.ts"), String(rounds)];
  const { stdout } = await timed(argv);
  return {
    ...{ name: ATTACH, unit: "ms", limit: ATTACH_LIMIT_MS },
    summaries: new Map([["ours", summarize(JSON.parse(stdout) as number[])]]),
  };
}

const BEYOND: readonly [string, string] = ["docker run --rm, bridge", "docker run --rm, none"];
const BEYOND_BAR = 0.3;

/** What a bridge adds to `docker run`; undefined unless both were measured. */
export function bridgeBeyondNone(results: readonly BenchmarkResult[]): BenchmarkResult | undefined {
  const [bridge, none] = BEYOND.map((wanted) => results.find(({ name }) => name === wanted));
  if (!bridge || !none) return undefined;
  const summaries = new Map(
    [...bridge.summaries].flatMap(([contender, more]) => {
      const less = none.summaries.get(contender);
      if (more instanceof Error || !less || less instanceof Error) return [];
      const median = more.median - less.median;
      return [[contender, { median, p95: median, min: median, count: more.count }] as const];
    }),
  );
  return { name: "docker run --rm, bridge beyond none", unit: "ms", bar: BEYOND_BAR, summaries };
}

function program(name: string): string {
  return path.join(path.dirname(fileURLToPath(import.meta.url)), name);
}

function bun(): string {
  const require = createRequire(import.meta.url);
  return path.join(path.dirname(require.resolve("bun/package.json")), "bin/bun.exe");
}
