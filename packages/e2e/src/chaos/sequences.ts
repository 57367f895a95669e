import fs from "node:fs";
import { eventually } from "@longshore/testkit";
import { type Answer, api } from "../engine-api.ts";
import type { World } from "../world.ts";
import { Random } from "./random.ts";

export interface SequencesOptions {
  /** How many containers are created, started, stopped and removed. */
  sequences: number;
  seed: number;
  /** So many at a time. */
  workers?: number;
  progress?: (line: string) => void;
}

export interface SequencesReport {
  faults: string[];
  kills: number;
  /** Steps that were answered, and those whose answer a kill took away. */
  answered: number;
  cutOff: number;
  /** Containers that were still there at the end, since their removal was cut off or refused. */
  left: number;
}

/** What is known of one container's sequence: a step that was cut off may have been done or not. */
interface Sequence {
  name: string;
  id?: string;
  created: Outcome;
  removed: Outcome;
}
type Outcome = "no" | "done" | "unknown";

/** dockerd is killed again and again while containers are created, started, stopped and removed; in the end its inventory must be right. */
export async function runSequences(
  world: World,
  { sequences, seed, workers = 4, progress = () => {} }: SequencesOptions,
): Promise<SequencesReport> {
  return new Sequences(world, new Random(seed)).run(sequences, workers, progress);
}

class Sequences {
  readonly #world: World;
  readonly #random: Random;
  readonly #all: Sequence[] = [];
  readonly report: SequencesReport = { faults: [], kills: 0, answered: 0, cutOff: 0, left: 0 };

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  async run(count: number, workers: number, progress: (line: string) => void): Promise<SequencesReport> {
    let next = 0;
    const work = async () => {
      for (let number = next++; number < count; number = next++) await this.#sequence(number);
    };
    const done = Promise.all(Array.from({ length: workers }, work));
    const state = { over: false };
    const finished = done.finally(() => {
      state.over = true;
    });
    while (!state.over) {
      await Promise.race([Bun.sleep(this.#random.between(20, 900)), finished]);
      if (state.over) break;
      await this.#kill();
      progress(`${this.report.kills} kills, ${Math.min(next, count)} of ${count} sequences begun`);
    }
    await finished;
    await this.#kill();
    await this.#check();
    return this.report;
  }

  async #kill(): Promise<void> {
    const { suite } = this.#world.engine;
    await suite.kill("dockerd", "SIGKILL");
    this.report.kills++;
    await Bun.sleep(this.#random.between(0, 100));
    await suite.start("dockerd");
  }

  async #sequence(number: number): Promise<void> {
    const random = new Random(number + 1);
    const sequence: Sequence = { name: `s${number}`, created: "no", removed: "no" };
    this.#all.push(sequence);
    const body = {
      Image: this.#world.busybox,
      Cmd: ["sh", "-c", "trap 'exit 7' TERM; while :; do usleep 10000; done"],
      Volumes: { "/anonymous": {} },
      HostConfig: {
        NetworkMode: random.pick(["none", "bridge"]),
        Binds: number % 3 === 0 ? [`named${number}:/named`] : [],
      },
    };
    const created = await this.#ask("POST", `/containers/create?name=${sequence.name}`, JSON.stringify(body));
    sequence.created = created === undefined ? "unknown" : created.status === 201 ? "done" : "no";
    if (created?.status === 201) sequence.id = (JSON.parse(created.body) as { Id: string }).Id;
    else if (created) this.#refused(sequence, "create", created);
    await this.#step(sequence, "POST", "start", [204, 304]);
    if (random.next() < 0.7) await this.#step(sequence, "POST", "stop?t=2", [204, 304]);
    const removed = await this.#ask("DELETE", `/containers/${sequence.name}?force=1&v=1`);
    if (removed?.status === 204) sequence.removed = "done";
    else if (removed === undefined) sequence.removed = "unknown";
    // It was never made, or its creation was cut off.
    else if (removed.status !== 404 || sequence.created === "done") this.#refused(sequence, "rm", removed);
  }

  async #step(sequence: Sequence, method: string, what: string, good: number[]): Promise<void> {
    const answer = await this.#ask(method, `/containers/${sequence.name}/${what}`);
    if (!answer || good.includes(answer.status)) return;
    if (answer.status === 404 && sequence.created !== "done") return;
    this.#refused(sequence, what, answer);
  }

  #refused({ name }: Sequence, what: string, { status, message }: Answer): void {
    this.report.faults.push(`${name}: ${what}: ${status} ${message}`);
  }

  /** Undefined when no answer came: the daemon was killed meanwhile, or is away. Then wait until it is back. */
  async #ask(method: string, path: string, body?: string): Promise<Answer | undefined> {
    try {
      const answer = await api(this.#world, method, `/v1.41${path}`, body);
      this.report.answered++;
      return answer;
    } catch {
      this.report.cutOff++;
      for (const end = Date.now() + 20_000; Date.now() < end; await Bun.sleep(20)) {
        const pong = await api(this.#world, "GET", "/_ping").catch(() => undefined);
        if (pong?.status === 200) break;
      }
      return undefined;
    }
  }

  /** Every container that is listed is whole, every one that runs is listed, and all of it can be removed without a trace. */
  async #check(): Promise<void> {
    const { faults } = this.report;
    const listed = JSON.parse((await api(this.#world, "GET", "/v1.41/containers/json?all=1")).body) as {
      Id: string;
      Names: string[];
      State: string;
    }[];
    this.report.left = listed.length;
    for (const sequence of this.#all) {
      const found = listed.filter(({ Names }) => Names[0] === `/${sequence.name}`);
      if (found.length > 1) faults.push(`${sequence.name} is listed ${found.length} times`);
      if (found.length > 0 && sequence.removed === "done")
        faults.push(`${sequence.name} was removed and is listed as ${found[0]?.State}`);
      if (found.length === 0 && sequence.created === "done" && sequence.removed === "no")
        faults.push(`${sequence.name} was created and is not listed`);
    }
    // A shim ends a moment after its container's removal.
    const unlisted = () =>
      shimsOf(this.#world.engine.dir).filter((id) => !listed.some(({ Id }) => Id === id));
    await eventually(() => unlisted().length === 0, { timeoutMs: 20_000 }).catch(() => {});
    for (const id of unlisted()) faults.push(`${id} runs and is not listed`);
    const running = new Set(shimsOf(this.#world.engine.dir));
    for (const { Id, Names, State } of listed) {
      const { status, body } = await api(this.#world, "GET", `/v1.41/containers/${Id}/json`);
      if (status !== 200) {
        faults.push(`${Names[0]} is listed and not inspected: ${status} ${body}`);
        continue;
      }
      const { Pid } = (JSON.parse(body) as { State: { Pid: number } }).State;
      const runs = Pid > 0 && fs.existsSync(`/proc/${Pid}`);
      if (runs !== (State === "running")) faults.push(`${Names[0]} is ${State}, its process ${Pid}`);
      if (runs !== running.has(Id)) faults.push(`${Names[0]} is ${State} and its shim is not`);
    }
    for (const { Id, Names } of listed) {
      const { status, message } = await api(this.#world, "DELETE", `/v1.41/containers/${Id}?force=1&v=1`);
      if (status !== 204) faults.push(`${Names[0]} can't be removed: ${status} ${message}`);
    }
    // Anonymous volumes of containers whose creation was cut off are nobody's.
    await api(this.#world, "POST", `/v1.44/volumes/prune?filters=${encodeURIComponent('{"all":["1"]}')}`);
    const volumes = JSON.parse((await api(this.#world, "GET", "/v1.41/volumes")).body) as {
      Volumes: { Name: string }[];
    };
    for (const { Name } of volumes.Volumes) faults.push(`volume ${Name} can't be pruned`);
    faults.push(...(await this.#world.engine.leaks(10_000)).map((leak) => `left: ${leak}`));
  }
}

/** Ids of the containers that have a shim of this engine's. */
function shimsOf(dir: string): string[] {
  return fs.readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const words = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      const id = words[words.indexOf("-id") + 1];
      return words[0]?.includes("shim") && words.join(" ").includes(`${dir}/`) && id ? [id] : [];
    } catch {
      return []; // ended
    }
  });
}
