import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type CommandOptions, type DockerCli, eventually, freePort } from "@longshore/testkit";
import { hasReference, reference } from "./reference.ts";
import { clis, openWorld, type World } from "./world.ts";

/*
 * A user's way through the commands, each typed at our engine and at the real one: with the same client, both must show the same, but for
 * what differs from run to run.
 */

/** What one command showed. */
interface Shown {
  status: number;
  stdout: string;
  stderr: string;
}

/** Text without what differs from run to run: ids, addresses, times, sizes, and the widths of columns. */
function shape(text: string, world: World): string {
  return (
    text
      .replaceAll("\r", "")
      .replaceAll(world.registry, "REGISTRY")
      .replace(/127\.0\.0\.1:\d+(?=\/some\/any)\/?/g, "")
      .replace(/\b[0-9a-f]{64}\b/g, "ID")
      .replace(/\b[0-9a-f]{12}\b/g, "ID")
      .replace(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d)( [A-Z]+)?)?/g, "STAMP")
      .replace(/(About an?|Less than a|\d+) (second|minute|hour|day|week|month|year)s?/g, "TIME")
      .replace(/\b\d+(\.\d+)?([kMG]i?B|B)\b/g, "SIZE")
      // Only one of them may publish by IPv6 too.
      .replace(/, (\[::\]|::):\d+->\d+\/\w+/g, "")
      .replace(/^.*-> (\[::\]|::):\d+\n/gm, "")
      .replace(/(0\.0\.0\.0|127\.0\.0\.1):\d+/g, "$1:PORT")
      .replace(/^(root|0) +\d.*$/gm, (line) => line.replace(/ \d+(:\d+)*\b| [A-Z][a-z]{2}\d\d\b/g, " N"))
      .replace(/ {2,}/g, "  ")
      .replace(/ +$/gm, "")
  );
}

/** What is typed. Words are the same for every engine and client, so names are what refers to containers. */
class Walk {
  readonly shown = new Map<string, Shown>();
  readonly #world: World;
  readonly #cli: DockerCli;
  #prefix = "";

  constructor(world: World, cli: DockerCli) {
    this.#world = world;
    this.#cli = cli;
  }

  async type(line: string, options?: CommandOptions): Promise<Shown> {
    const { busybox: image, registry } = this.#world;
    // Words with blanks stand between bars.
    const words = (line.match(/\|[^|]*\||\S+/g) ?? []).map((word) =>
      word
        .replace(/^\|(.*)\|$/s, "$1")
        .replaceAll("IMAGE", image)
        .replaceAll("REGISTRY", registry),
    );
    const result = await this.#world.docker(this.#cli).run(words, options);
    const shown = {
      status: result.status,
      stdout: shape(result.stdout, this.#world),
      stderr: shape(result.stderr, this.#world),
    };
    this.shown.set(`${this.#prefix}${line}${this.shown.has(line) ? " (again)" : ""}`, shown);
    return shown;
  }

  async until(line: string, wanted: string): Promise<void> {
    const docker = this.#world.docker(this.#cli);
    await eventually(async () => (await docker(...line.split(" "))).includes(wanted), { timeoutMs: 20_000 });
  }
}

async function walk({ world, cli, index }: { world: World; cli: DockerCli; index: string }): Promise<Walk> {
  const walk = new Walk(world, cli);
  const type = (line: string, options?: CommandOptions) => walk.type(line, options);
  const typeAt = (line: string, stdin: string) => walk.type(line, { terminal: true, stdin });
  const port = await freePort();

  await type("version --format |{{.Server.Os}}/{{.Server.Arch}} {{.Server.KernelVersion}}|");
  await type(
    "info --format |{{.OSType}} {{.NCPU}} {{.Swarm.LocalNodeState}} {{.CgroupVersion}} {{.Containers}} {{.Images}}|",
  );
  await type(`search ${index}/any`);
  await type(`search --no-trunc --format |{{.Description}}: {{.StarCount}}| ${index}/any`);
  await type("pull IMAGE");
  await type("pull -q IMAGE");
  await type("images");
  await type("images -q");
  await type("images --digests");
  await type("images --format |{{.Repository}} {{.Tag}}|");
  await type(
    "image inspect -f |{{.Os}} {{.Architecture}} {{.Config.Cmd}} {{len .RootFS.Layers}} {{.RepoTags}}| IMAGE",
  );

  await type("run --rm IMAGE echo hello");
  await type("run --rm IMAGE sh -c |echo out; echo err >&2; exit 3|");
  await type("run -i --rm IMAGE cat", { stdin: "through\n" });
  await typeAt("run -it --rm IMAGE sh", "echo a$((40 + 2))b\nexit 4\n");
  await type("run --rm IMAGE no-such-command");
  await type("run --rm REGISTRY/no/such:image");
  await type("run -itd --name shell IMAGE sh");
  await type(
    "run -d --name talker IMAGE sh -c |echo one; usleep 200000; echo two >&2; trap 'exit 5' TERM; sleep 1000 & wait|",
  );
  await walk.until("top talker", "sleep");
  await type("run -d --name talker IMAGE true");
  await type("ps");
  await type("ps -q");
  await type("ps -l");
  await type("ps -n 2 --format |{{.Names}} {{.Image}} {{.Command}} {{.Status}}|");
  await type("ps -a --no-trunc");
  await type("ps -f name=talk --format |{{.Names}}|");
  await type("exec talker echo from-exec");
  await type("exec -e A=1 -w /tmp -u 0 talker sh -c |echo $A; pwd; exit 6|");
  await typeAt("exec -it shell sh", "tty\nexit 7\n");
  await type("exec nobody true");
  await type("logs talker");
  await type("logs --tail 1 talker");
  await type("logs -t talker");
  await type("logs nobody");
  await type("top talker");
  await type("top talker -o pid,comm");
  await type(
    "inspect -f |{{.Name}} {{.State.Status}} {{.Path}} {{len .Args}} {{.Config.Image}} {{.HostConfig.NetworkMode}}| talker",
  );
  await type(
    "inspect -f |{{json .Mounts}} {{json .HostConfig.PortBindings}} {{json .NetworkSettings.Ports}}| talker",
  );
  await type("inspect nobody");
  await type("diff talker");
  await type("stop -t 5 talker");
  await type("ps -a --format |{{.Names}} {{.Status}}|");
  await type("ps -q -f status=exited");
  await type("start talker");
  await walk.until("top talker", "sleep");
  await type("start nobody");
  await type("rm talker");
  await type("restart -t 1 talker");
  await type("rename talker speaker");
  await type("pause speaker");
  await type("ps --format |{{.Names}} {{.Status}}|");
  await type("exec speaker true");
  await type("unpause speaker");
  await type("kill -s KILL speaker");
  await type("wait speaker");

  await type("run -d -P --expose 80 --name all IMAGE sleep 1000");
  await type(`run -d -p 127.0.0.1::80 -p 127.0.0.1:${port}:81/udp --name some IMAGE sleep 1000`);
  await type("port all");
  await type("port some");
  await type("port some 80");
  await type("port some 81/udp");
  await type("port some 99");
  await type("ps --format |{{.Names}} {{.Ports}}|");

  await type("run --name made IMAGE sh -c |echo new > /file; mkdir /dir; rm /etc/group|");
  await type("diff made");
  await type(
    "commit -a |An Author <a@example.org>| -m |A message| -c |CMD cat /file| made walked/committed:1",
  );
  await type("inspect -f |{{.Author}}, {{.Comment}}, {{.Config.Cmd}}| walked/committed:1");
  await type("history --format |{{.CreatedBy}} {{.Comment}}| walked/committed:1");
  await type("run --rm walked/committed:1");
  await type("tag walked/committed:1 walked/tagged:2");
  await type("images walked/* --format |{{.Repository}}:{{.Tag}}|");
  await type("rmi walked/tagged:2");
  await type("rmi nobody");
  await type("rmi walked/committed:1");
  await type("cp made:/file -");
  await type("rm made speaker");
  await type("rm nobody");
  await type("rm -f shell all some");
  await type("ps -a");
  await type("network ls");
  await type("volume create walked");
  await type("volume ls");
  await type("volume rm walked");
  await type("system df --format |{{.Type}} {{.TotalCount}}|");
  await type("system prune -f");
  return walk;
}

const statusOnly = ({ status }: Shown): Shown => ({ status, stdout: "", stderr: "" });
const lastWords = (pattern: RegExp) => (shown: Shown) => ({
  ...shown,
  stderr: pattern.exec(shown.stderr)?.[0] ?? shown.stderr,
});
const sorted = (shown: Shown) => ({ ...shown, stdout: shown.stdout.split("\n").sort().join("\n") });
const only = (pattern: RegExp) => (shown: Shown) => ({
  ...shown,
  stdout: pattern.exec(shown.stdout)?.[0] ?? shown.stdout,
});

/** Where engines or their versions have words of their own, or order is chance: what must be the same all the same, by a part of the command. */
const OWN: Readonly<Record<string, (shown: Shown) => Shown>> = {
  "rmi walked/committed:1": statusOnly,
  "rm talker": statusOnly,
  "no-such-command": lastWords(/exec: "no-such-command": executable file not found in \$PATH/),
  "no/such:image": lastWords(/manifest unknown|repository name not known/),
  "top talker -o": (shown) => ({ ...shown, stdout: shown.stdout.replace(/\d+/g, "N") }),
  "diff made": sorted,
  // Newer engines tell newer clients the default network's name.
  "{{.HostConfig.NetworkMode}}": (shown) => ({
    ...shown,
    stdout: shown.stdout.replace(/ (default|bridge)\n/, " MODE\n"),
  }),
  // Clients have them in any order.
  "port some": sorted,
  "images walked": sorted,
  "cp made:/file -": only(/^file|new$/m),
  "exec -it shell sh": only(/\/dev\/pts\/\d+/),
  "run -it --rm": only(/a42b/),
};

describe.skipIf(!hasReference("the walk-through beside the real engine"))(
  "a walk through the commands shows the same at our engine and at the real one",
  () => {
    const worlds: World[] = [];
    let index: ReturnType<typeof Bun.serve> | undefined;
    beforeAll(async () => {
      worlds.push(await openWorld(), await openWorld(reference));
      const hit = {
        name: "some/any",
        description: "",
        star_count: 0,
        is_official: false,
        is_automated: false,
      };
      index = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        routes: {
          "/v1/_ping": Response.json({ standalone: true }),
          "/v1/search": Response.json({ num_results: 1, query: "any", results: [hit] }),
          "/v2/": Response.json({}),
          "/v2/_catalog": Response.json({ repositories: ["some/any"] }),
        },
      });
    });
    afterAll(async () => {
      for (const world of worlds) await world[Symbol.asyncDispose]();
      await index?.stop(true);
    });

    test.each(clis)("with $name", async (cli) => {
      const [ours, theirs] = await Promise.all(
        worlds.map((world) => walk({ world, cli, index: `127.0.0.1:${index?.port}` })),
      );
      const shownBy = (walked: Walk | undefined) =>
        Object.fromEntries(
          [...(walked?.shown ?? [])].map(([line, shown]) => {
            const own = Object.keys(OWN).find((part) => line.includes(part));
            const key = line.replace(/127\.0\.0\.1:\d{2,}/g, "HOST").replace(/\d{4,5}:81/, "PORT:81");
            return [key, (own && OWN[own]?.(shown)) || shown];
          }),
        );
      expect(shownBy(ours)).toEqual(shownBy(theirs));
    });
  },
);
