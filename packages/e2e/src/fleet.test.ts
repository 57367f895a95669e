import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import net from "node:net";
import { busyboxImage, findExecutable, findStaticBusybox } from "@longshore/suite";
import { type Engine, eventually, startEngine, startRegistry, tempDir } from "@longshore/testkit";
import { anyReal, binDir, ours, skipped } from "./world.ts";

const server = findExecutable("redis-server");
if (!server) skipped("engines that share a Redis: redis-server is not installed");

describe.skipIf(!server)("two engines that keep their state in one Redis", () => {
  const dir = tempDir();
  let port: number;
  let redis: ReturnType<typeof spawn> | undefined;
  let image: string;
  let one: Engine;
  let other: Engine;
  const resources = new AsyncDisposableStack();

  async function startRedis(): Promise<void> {
    if (redis && redis.exitCode === null && redis.signalCode === null) return;
    const args = ["--port", String(port), "--bind", "127.0.0.1", "--appendonly", "yes", "--dir", dir.path];
    redis = spawn(server ?? "", args, { stdio: "ignore" });
    await eventually(
      () =>
        new Promise<boolean>((resolve) => {
          const probe = net
            .connect(port, "127.0.0.1", () => resolve(true))
            .once("error", () => resolve(false));
          probe.unref();
        }),
    );
  }

  async function killRedis(): Promise<void> {
    if (!redis || redis.exitCode !== null || redis.signalCode !== null) return;
    const gone = new Promise((resolve) => redis?.once("exit", resolve));
    redis.kill("SIGKILL");
    await gone;
  }

  async function engine(): Promise<Engine> {
    const extraArgs = ["--store", `redis://127.0.0.1:${port}/0`];
    const started = resources.use(
      await startEngine({ binDir, cli: anyReal ?? ours, components: { dockerd: { extraArgs } } }),
    );
    await started.docker(ours)("pull", "-q", image);
    started.mark();
    return started;
  }

  beforeAll(async () => {
    resources.use(dir);
    resources.defer(killRedis);
    port = await freePort();
    await startRedis();
    const registry = resources.use(await startRegistry(dir.path));
    const busybox = findStaticBusybox();
    if (!registry || !busybox) throw new Error("docker-registry and busybox-static are needed");
    await registry.push("busybox", "1", busyboxImage(busybox));
    image = `${registry.host}/busybox:1`;
    [one, other] = await Promise.all([engine(), engine()]);
  }, 60_000);
  afterAll(async () => {
    await startRedis().catch(() => {}); // the engines are to put away what they have
    await resources.disposeAsync();
  }, 60_000);

  const names = async (on: Engine, ...args: string[]) =>
    (await on.docker(ours)("ps", "-a", "--format", "{{.Names}}", ...args)).split("\n").filter(Boolean).sort();

  test("each lists its own; a filter shows all, or those of one engine, and says whose they are", async () => {
    await one.docker(ours)("run", "-d", "--name", "same", image, "sleep", "100");
    await other.docker(ours)("run", "-d", "--name", "same", image, "sleep", "100");
    await other.docker(ours)("create", "--name", "second", image, "true");
    expect(await names(one)).toEqual(["same"]);
    expect(await names(other)).toEqual(["same", "second"]);
    expect(await names(one, "-f", "engine=*")).toEqual(["same", "same", "second"]);
    const id = await other.docker(ours)("info", "-f", "{{.ID}}");
    expect(await names(one, "-f", `engine=${id}`, "-f", "status=running")).toEqual(["same"]);
    expect(await names(one, "-f", "engine=there-is-none")).toEqual([]);
    const labels = await one.docker(ours)("ps", "-f", "engine=*", "--format", "{{.Labels}}");
    expect(labels.split("\n")).toHaveLength(2);
    expect(labels).toMatch(/^longshore\.engine=\S+\nlongshore\.engine=\S+$/);
    await one.docker(ours)("rm", "-f", "same");
    expect(await names(other, "-f", "engine=*")).toEqual(["same", "second"]);
    await other.docker(ours)("rm", "-f", "same", "second");
  });

  const get = async (on: Engine, path: string, filters: object) => {
    const query = encodeURIComponent(JSON.stringify(filters));
    const answer = await fetch(`http://docker${path}?filters=${query}`, {
      unix: on.suite.paths.dockerSocket,
    });
    return (await answer.json()) as unknown;
  };

  test("a filter shows the images and the volumes of all, or of one engine", async () => {
    const repository = image.slice(0, image.lastIndexOf(":"));
    const listed = async (filters: object) => {
      const found = (await get(one, "/images/json", filters)) as {
        Id: string;
        RepoTags: string[];
        Labels: Record<string, string> | null;
      }[];
      return found.map(({ RepoTags, Labels }) => [RepoTags.sort(), Object.keys(Labels ?? {})]);
    };
    await other.docker(ours)("tag", image, `${repository}:theirs`);
    const id = await other.docker(ours)("info", "-f", "{{.ID}}");
    expect(await listed({})).toEqual([[[image], []]]);
    expect(await listed({ engine: [id] })).toEqual([[[image, `${repository}:theirs`], ["longshore.engine"]]]);
    expect(await listed({ engine: ["*"] })).toHaveLength(2);
    expect(
      await listed({ engine: ["*"], reference: ["*/base:theirs", `${repository}:theirs`] }),
    ).toHaveLength(1);
    await other.docker(ours)("rmi", `${repository}:theirs`);
    expect(await listed({ engine: [id] })).toEqual([[[image], ["longshore.engine"]]]);

    await one.docker(ours)("volume", "create", "--label", "x=1", "mine");
    await other.docker(ours)("volume", "create", "theirs");
    const volumes = async (filters: object) =>
      ((await get(one, "/volumes", filters)) as { Volumes: { Name: string }[] }).Volumes.map(
        ({ Name }) => Name,
      );
    expect(await volumes({})).toEqual(["mine"]);
    expect(await volumes({ engine: ["*"] })).toEqual(["mine", "theirs"]);
    expect(await volumes({ engine: [id] })).toEqual(["theirs"]);
    expect(await volumes({ engine: ["*"], label: ["x=1"] })).toEqual(["mine"]);
    expect(await get(one, "/volumes", { engine: ["*"], dangling: ["true"] })).toMatchObject({
      message: expect.stringContaining("dangling and engine don't go together"),
    });
    await one.docker(ours)("volume", "rm", "mine");
    await other.docker(ours)("volume", "rm", "theirs");
  });

  test("a filter shows the networks of all, or of one engine, as they are there", async () => {
    await one.docker(ours)("network", "create", "--label", "x=1", "mine");
    await other.docker(ours)("network", "create", "--internal", "--label", "x=1", "theirs");
    await other.docker(ours)("create", "--name", "member", "--network", "theirs", image, "true");
    type Network = {
      Name: string;
      Id: string;
      Labels: Record<string, string>;
      IPAM: unknown;
      Internal: boolean;
    };
    const list = async (filters: object) => (await get(one, "/networks", filters)) as Network[];
    const listed = async (filters: object) => (await list(filters)).map(({ Name }) => Name).sort();
    const id = await other.docker(ours)("info", "-f", "{{.ID}}");
    const plain = ["bridge", "host", "none"];
    expect(await listed({})).toEqual([...plain, "mine"].sort());
    expect(await listed({ engine: [id] })).toEqual([...plain, "theirs"].sort());
    expect(await listed({ engine: ["*"], type: ["custom"] })).toEqual(["mine", "theirs"]);
    expect(await listed({ engine: ["*"], label: ["x=1"], driver: ["bridge"] })).toEqual(["mine", "theirs"]);
    expect(await listed({ engine: ["there-is-none"] })).toEqual([]);
    const [seen] = await list({ engine: [id], name: ["theirs"] });
    const [own] = (await get(other, "/networks", { name: ["theirs"] })) as Network[];
    expect(Object.keys(seen?.Labels ?? {}).sort()).toEqual(["longshore.engine", "x"]);
    expect({ ...seen, Labels: own?.Labels }).toEqual({ ...own } as Network);
    await one.docker(ours)("network", "rm", "mine");
    await other.docker(ours)("rm", "member");
    await other.docker(ours)("network", "rm", "theirs");
  });

  test("what happened is in Redis too: a killed daemon's next one tells it", async () => {
    const since = String(Date.now() / 1000 - 1);
    await one.docker(ours)("network", "create", "told-of");
    await one.docker(ours)("volume", "create", "told-of");
    await one.suite.kill("dockerd", "SIGKILL");
    await one.suite.start("dockerd");
    const until = String(Date.now() / 1000);
    const told = await one.docker(ours)("events", "--since", since, "--until", until);
    expect(told).toMatch(/ network create [0-9a-f]{64} \(.*name=told-of/);
    expect(told).toMatch(/ volume create told-of \(/);
    expect(await one.docker(ours)("network", "ls", "-q", "-f", "name=told-of")).not.toBe("");
    expect(await one.docker(ours)("volume", "ls", "-q", "-f", "name=told-of")).toBe("told-of");
    await one.docker(ours)("network", "rm", "told-of");
    await one.docker(ours)("volume", "rm", "told-of");
  });

  test("without Redis: what would change is refused with 503, what runs goes on, no exit is lost", async () => {
    const docker = one.docker(ours);
    const short = await docker("run", "-d", "--name", "ends", image, "sh", "-c", "read x; exit 7");
    await docker("run", "-d", "--name", "lives", image, "sleep", "1000");
    await docker("run", "-id", "--name", "told", image, "sh", "-c", "read x; exit 5");
    await killRedis();

    const refused = await docker.run(["create", image, "true"]);
    expect(refused.stderr).toContain(`the state store at redis://127.0.0.1:${port} can't be reached`);
    const answer = await fetch("http://docker/containers/create", {
      unix: one.suite.paths.dockerSocket,
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ Image: image, Cmd: ["true"] }),
    });
    expect(answer.status).toBe(503);
    for (const args of [
      ["rm", short],
      ["tag", image, "another:1"],
      ["rmi", "-f", image],
      ["pull", image],
      ["volume", "create", "away"],
      ["network", "create", "away"],
    ]) {
      expect((await docker.run(args)).stderr).toContain("can't be reached");
    }
    expect(await docker("images", "--format", "{{.Repository}}:{{.Tag}}")).toBe(image);
    expect((await docker("ps", "--format", "{{.Names}}")).split("\n")).toContain("lives");
    expect(await docker("exec", "lives", "echo", "alive")).toBe("alive");
    await docker.run(["attach", "told"], { stdin: "x\n" });
    expect(await docker("wait", "told")).toBe("5");

    // The daemon is killed as well, before Redis has heard of that exit.
    await one.suite.kill("dockerd", "SIGKILL");
    await startRedis();
    await one.suite.start("dockerd");
    expect(await docker("inspect", "-f", "{{.State.ExitCode}} {{.State.Status}}", "told")).toBe("5 exited");
    expect(await docker("inspect", "-f", "{{.State.ExitCode}} {{.State.Status}}", "ends")).toBe("7 exited");
    expect(await docker("inspect", "-f", "{{.State.Status}}", "lives")).toBe("running");
  });

  test("it comes back without a restart, and has what happened meanwhile", async () => {
    const docker = one.docker(ours);
    await killRedis();
    await docker("stop", "-t", "0", "lives");
    await startRedis();
    await eventually(async () => (await docker.run(["rename", "lives", "renamed"])).status === 0);
    const id = await one.docker(ours)("info", "-f", "{{.ID}}");
    const listed = await other.docker(ours)(
      "ps",
      "-af",
      `engine=${id}`,
      "--format",
      "{{.Names}} {{.Status}}",
    );
    expect(listed).toMatch(/^renamed Exited \(137\) /m);
    await docker("rm", "renamed", "ends", "told");
    expect(await names(other, "-f", "engine=*")).toEqual([]);
  });
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as net.AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}
