import fs from "node:fs";
import { type CommandResult, eventually } from "@longshore/testkit";
import { initPid } from "../init-process.ts";
import type { World } from "../world.ts";
import { checkShort, type Found, inspect, type Started } from "./checks.ts";
import { Random } from "./random.ts";
import { connectNats, EventWitness, streamEvents } from "./witness.ts";
import {
  type ExecPlan,
  planRound,
  type RoundPlan,
  type Short,
  STEADY_CODE,
  STEADY_SCRIPT,
  shortScript,
  VICTIMS,
} from "./workload.ts";

export interface ChaosOptions {
  rounds: number;
  seed: number;
  /** Started in each round, beside those that live through all of them. */
  containers?: number;
  progress?: (line: string) => void;
}

/** What was counted, and everything that was not as it should be. */
export interface ChaosReport {
  faults: string[];
  kills: Record<string, number>;
  /** Containers whose start was acknowledged, and those of the others that ran all the same. */
  started: number;
  startedUnseen: number;
  exits: number;
  execs: number;
  execsBroken: number;
  lines: number;
  /** Milliseconds between a container's last line and its recorded end, at most. */
  slowestExitMs: number;
}

const COMMAND_TIMEOUT_MS = 15_000;

const ALL_DAEMONS = ["containerd", "dockerd", "nats-server", "registry-client"] as const;

const STEADY = ["steady0", "steady1"];

/** Kill daemons at random moments while containers come and go, and look whether anything was lost. */
export async function runChaos(
  world: World,
  { rounds, seed, containers = 10, progress = () => {} }: ChaosOptions,
): Promise<ChaosReport> {
  const chaos = new Chaos(world, new Random(seed), containers);
  return await chaos.run(rounds, progress);
}

class Chaos {
  readonly #world: World;
  readonly #random: Random;
  readonly #containers: number;
  readonly #steady = new Map<string, number>();
  readonly report: ChaosReport = {
    faults: [],
    kills: { containerd: 0, dockerd: 0, "nats-server": 0, all: 0 },
    started: 0,
    startedUnseen: 0,
    exits: 0,
    execs: 0,
    execsBroken: 0,
    lines: 0,
    slowestExitMs: 0,
  };

  constructor(world: World, random: Random, containers: number) {
    this.#world = world;
    this.#random = random;
    this.#containers = containers;
  }

  async run(rounds: number, progress: (line: string) => void): Promise<ChaosReport> {
    const { engine, busybox } = this.#world;
    const docker = this.#world.docker();
    for (const name of STEADY) {
      const id = await docker("run", "-d", "--name", name, busybox, "sh", "-c", STEADY_SCRIPT);
      this.#steady.set(id, initPid(id));
    }
    engine.mark();
    const begun = new Date();
    await using witness = new EventWitness(engine.suite.paths.dockerSocket);
    for (let round = 0; round < rounds; round++) {
      const plan = planRound(round, this.#containers, this.#random);
      const before = this.report.faults.length;
      const started = performance.now();
      await this.#round(plan, witness);
      const faults = this.report.faults.slice(before);
      progress(
        `round ${round}: ${plan.victims} at ${plan.killMs} ms, ${Math.round(performance.now() - started)} ms` +
          faults.map((fault) => `\n  ${fault}`).join(""),
      );
    }
    if (this.report.faults.some((fault) => fault.includes(" died: "))) return this.report;
    await this.#end(begun, witness);
    return this.report;
  }

  async #round(plan: RoundPlan, witness: EventWitness): Promise<void> {
    const since = new Date(Date.now() - 1000);
    const { engine } = this.#world;
    const names = plan.shorts.map(({ name }) => name);
    const work = Promise.all(plan.shorts.map((short) => this.#start(short)));
    const execs = Promise.all(plan.execs.map((exec) => this.#exec(exec, names)));
    await Bun.sleep(plan.killMs);
    await this.#kill(plan);
    const started = await work;
    await execs;
    await this.#waitAll(started);
    const found: Found[] = [];
    for (const start of started) {
      const container = await inspect(this.#world, start);
      if (container) found.push(container);
    }
    const ran = found.filter(({ ran }) => ran);
    this.report.started += started.filter(({ acknowledged }) => acknowledged).length;
    this.report.startedUnseen += ran.filter(({ acknowledged }) => !acknowledged).length;
    await using connection = disposable(await connectNats(engine.suite));
    const filter = "longshore.events.*.moby.tasks.>";
    const expected = [
      ...ran.map(({ id }) => id),
      ...started.flatMap(({ id, acknowledged }) => (acknowledged && id) || []),
    ];
    await this.#settle(async () => {
      const events = await streamEvents(connection.value, { filter, since });
      return expected.every((id) =>
        events.some(({ topic, event }) => topic === "/tasks/exit" && event.id === id),
      );
    });
    const events = await streamEvents(connection.value, { filter, since });
    for (const container of found) {
      await this.#settle(() => !container.ran || witness.of(container.id, "die").length > 0);
    }
    for (const start of started) {
      const container = found.find(({ name }) => name === start.name);
      const { faults, exitMs, lines } = checkShort(start, container, { events, witness });
      this.report.faults.push(...faults.map((fault) => `${start.name}: ${fault}`));
      this.report.lines += lines;
      if (container?.ran) this.report.exits++;
      this.report.slowestExitMs = Math.max(this.report.slowestExitMs, exitMs);
    }
    this.#checkExecs(events, witness);
    this.#checkSteady();
    const rest = found.map(({ name }) => name);
    if (rest.length > 0) {
      const removed = await this.#run(["rm", "-f", ...rest]);
      if (removed.status !== 0) this.report.faults.push(`docker rm: ${removed.stderr.trim()}`);
    }
    for (const name of ALL_DAEMONS)
      if (!engine.suite.running(name))
        this.report.faults.push(`${name} died: ${engine.suite.output(name).slice(-2000)}`);
    const leaks = await engine.leaks(5000);
    this.report.faults.push(...leaks.map((leak) => `left: ${leak}`), ...zombies(engine.dir));
  }

  /** Give something a while to come true; whoever looks afterwards says what is missing. */
  async #settle(condition: () => boolean | Promise<boolean>): Promise<void> {
    await eventually(condition, { timeoutMs: 8000 }).catch(() => {});
  }

  /** A docker command; one that doesn't end is a fault. */
  async #run(args: string[]): Promise<CommandResult> {
    try {
      return await this.#world.docker().run(args, { timeoutMs: COMMAND_TIMEOUT_MS });
    } catch (error) {
      this.report.faults.push(`docker ${args.slice(0, 6).join(" ")}: ${String(error).slice(0, 300)}`);
      return { status: -1, stdout: "", stderr: "did not end" };
    }
  }

  async #start(short: Short): Promise<Started> {
    await Bun.sleep(short.startMs);
    const remove = short.autoRemove ? ["--rm"] : [];
    const argv = [
      "run",
      "-d",
      ...remove,
      "--name",
      short.name,
      "--network",
      short.code % 2 ? "bridge" : "none",
    ];
    const { status, stdout, stderr } = await this.#run([
      ...argv,
      ...[this.#world.busybox, "sh", "-c", shortScript(short)],
    ]);
    const acknowledged = status === 0;
    return { ...short, acknowledged, id: /^[0-9a-f]{64}$/m.exec(stdout)?.[0], error: stderr.trim() };
  }

  async #exec({ code, startMs, target }: ExecPlan, names: string[]): Promise<void> {
    await Bun.sleep(startMs);
    const name = target === undefined ? STEADY[code % STEADY.length] : names[target];
    const { status, stdout, stderr } = await this.#run([
      "exec",
      name ?? "",
      "sh",
      "-c",
      `echo "hi"; exit ${code}`,
    ]);
    this.report.execs++;
    if (status === code && stdout === "hi\n") return;
    // Its connection broke (before it had asked for the code, which it calls 255), or there was nothing to connect to, or its container had ended or not begun.
    if (stderr !== "" || stdout !== "hi\n" || status === 137 || status === 255) this.report.execsBroken++;
    else
      this.report.faults.push(
        `exec in ${name}: ${status}, not ${code}: ${JSON.stringify({ stdout, stderr })}`,
      );
  }

  async #kill({ victims, awayMs }: RoundPlan): Promise<void> {
    const { suite } = this.#world.engine;
    const names = VICTIMS[victims] ?? [];
    await Promise.all(names.map((name) => suite.kill(name, "SIGKILL")));
    this.report.kills[victims] = (this.report.kills[victims] ?? 0) + 1;
    await Bun.sleep(awayMs);
    await Promise.all(names.map((name) => suite.start(name)));
  }

  /** `docker wait` for whatever is there, until each has told its code. */
  async #waitAll(started: Started[]): Promise<void> {
    await Promise.all(
      started.map(async (start) => {
        const { status, stdout } = await this.#run(["wait", start.name]);
        if (status === 0) start.waited = Number(stdout.trim());
      }),
    );
  }

  /** Every exec that has started has ended once, with the code that its command says. */
  #checkExecs(events: Awaited<ReturnType<typeof streamEvents>>, witness: EventWitness): void {
    const codes = new Map(
      witness.events.flatMap(({ Action, Actor }) => {
        const code = /^exec_create: .*exit (\d+)$/.exec(Action)?.[1];
        return code === undefined ? [] : [[Actor.Attributes.execID ?? "", Number(code)]];
      }),
    );
    for (const { topic, event } of events) {
      if (topic !== "/tasks/exec-started") continue;
      const exits = events.filter(
        (other) => other.topic === "/tasks/exit" && other.event.id === event.exec_id,
      );
      const code = codes.get(event.exec_id ?? "");
      const statuses = exits.map((exit) => exit.event.exit_status);
      const right = exits.length === 1 && (code === undefined || statuses[0] === code || statuses[0] === 137);
      if (!right) this.report.faults.push(`exec ${event.exec_id} (exit ${code}): stream has ${statuses}`);
    }
  }

  #checkSteady(): void {
    for (const [id, pid] of this.#steady) {
      if (!fs.existsSync(`/proc/${pid}`)) this.report.faults.push(`steady container ${id} died`);
    }
  }

  /** End what lived through all rounds, and look at everything once more. */
  async #end(begun: Date, witness: EventWitness): Promise<void> {
    const docker = this.#world.docker();
    const { faults } = this.report;
    for (const [id] of this.#steady) {
      await docker("stop", id);
      const code = await docker("wait", id);
      if (code !== String(STEADY_CODE)) faults.push(`steady container ended with ${code}`);
      const lines = (await docker("logs", id)).split("\n");
      const count = lines.length - 1;
      this.report.lines += count;
      if (lines.pop() !== "bye" || lines.some((line, index) => line !== String(index + 1)))
        faults.push(`steady container: its ${count} lines are not whole or not in order`);
      await docker("rm", id);
    }
    await using connection = disposable(await connectNats(this.#world.engine.suite));
    const all = await streamEvents(connection.value, { filter: "longshore.events.>", since: begun });
    const seen = new Set<string>();
    for (const { id } of all) {
      if (seen.has(id)) faults.push(`twice in the stream: ${id}`);
      seen.add(id);
    }
    const dies = new Set<string>();
    for (const { Action, Actor } of witness.events) {
      if (Action !== "die") continue;
      if (dies.has(Actor.ID)) faults.push(`twice in docker events: die of ${Actor.Attributes.name}`);
      dies.add(Actor.ID);
    }
  }
}

/** Dead children that the engine's processes have not reaped. */
function zombies(dir: string): string[] {
  const ours = new Set<string>();
  const dead: { pid: string; parent: string; name: string }[] = [];
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
      const [, name = "", state, parent = ""] = /\((.*)\) (\S) (\d+)/.exec(stat) ?? [];
      if (state === "Z") dead.push({ pid, parent, name });
      else if (fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`${dir}/`)) ours.add(pid);
    } catch {
      // ended
    }
  }
  return dead
    .filter(({ parent }) => ours.has(parent))
    .map(({ pid, parent, name }) => `zombie ${pid} (${name}) of ${parent}`);
}

function disposable<T extends { close(): Promise<void> }>(value: T): { value: T } & AsyncDisposable {
  return { value, [Symbol.asyncDispose]: () => value.close() };
}
