import { afterAll, beforeAll } from "bun:test";
import path from "node:path";
import {
  busyboxImage,
  findStaticBusybox,
  type LocalImage,
  realContainerd,
  realDockerd,
  serveImages,
} from "@longshore/suite";
import {
  type Docker,
  type DockerCli,
  debianImage,
  dockerClis,
  type Engine,
  type EngineOptions,
  type Registry,
  startEngine,
  startRegistry,
  tempDir,
} from "@longshore/testkit";
import { attackerImage } from "./security/attacker-image.ts";

export const binDir = path.resolve(
  process.env.LONGSHORE_BIN_DIR || path.join(import.meta.dir, "../../../dist/bin"),
);

/** Every test that a user's command line matters to runs with each of these: ours, and the real ones of this machine. */
export const clis: DockerCli[] = dockerClis(binDir).filter(
  (cli) => !(cli.ours && process.env.LONGSHORE_E2E_REFERENCE),
);
export const ours: DockerCli = { name: "ours", path: path.join(binDir, "docker"), ours: true };
/** The client that sets the scene where it doesn't matter which one does. */
export const anyReal: DockerCli | undefined = clis.find((cli) => !cli.ours);

/** Tell the test driver why something is not tested. */
export function skipped(reason: string): void {
  console.log(`# skipped: ${reason}`);
}

if (!anyReal) skipped("no real docker client is installed, so only our own is tested");

/** A running engine, a registry server with images, and those images pulled. */
export interface World extends AsyncDisposable {
  readonly engine: Engine;
  /** `127.0.0.1:<port>` of the registry. */
  readonly registry: string;
  /** References of the images, with the registry's host. */
  readonly busybox: string;
  readonly debian: string;
  readonly attacker: string;
  docker(cli?: DockerCli): Docker;
  /** Put an image into the registry under another name. */
  push(repository: string, tag: string, image: ImageName): Promise<void>;
}

export type ImageName = "busybox" | "debian" | "attacker";

export interface WorldOptions extends Partial<Omit<EngineOptions, "cli">> {
  /** Which images to pull before the tests: busybox when left out. */
  pull?: ImageName[];
  /** Which images to put into the registry beside those. */
  push?: ImageName[];
}

export function machineBusybox(): LocalImage {
  const busybox = findStaticBusybox();
  if (!busybox) throw new Error("this machine has no static busybox (package busybox-static)");
  return busyboxImage(busybox);
}

const MAKE: Record<ImageName, () => LocalImage | Promise<LocalImage>> = {
  busybox: machineBusybox,
  debian: debianImage,
  attacker: attackerImage,
};

async function openRegistry(dir: string): Promise<Registry> {
  const registry = await startRegistry(dir);
  if (registry) return registry;
  skipped("docker-registry is not installed: images come from an endpoint of ours instead");
  const images: Record<string, LocalImage> = {};
  const server = await serveImages({ images });
  return {
    host: server.host,
    push: async (repository, tag, image) => {
      images[`${repository}:${tag}`] = image;
    },
    stop: async () => server[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** With LONGSHORE_E2E_REFERENCE=1 the tests run against the real daemons: a check of the tests themselves. */
function real(): Partial<EngineOptions> {
  const [dockerd, containerd] = [realDockerd(), realContainerd()];
  if (!process.env.LONGSHORE_E2E_REFERENCE || !dockerd || !containerd || !anyReal) return {};
  return {
    cli: anyReal,
    bridgeFirst: true,
    without: ["registry-client"],
    components: { dockerd, containerd },
  };
}

/** Start an engine with a registry and pull the images. */
export async function openWorld({
  pull = ["busybox"],
  push = [],
  ...options
}: WorldOptions = {}): Promise<World> {
  await using undo = new AsyncDisposableStack();
  const dir = undo.use(tempDir());
  const registry = undo.use(await openRegistry(dir.path));
  const pushImage = async (repository: string, tag: string, image: ImageName) =>
    registry.push(repository, tag, await MAKE[image]());
  for (const name of new Set([...pull, ...push])) await pushImage(`base/${name}`, "1", name);
  const engine = undo.use(await startEngine({ binDir, cli: anyReal ?? ours, ...real(), ...options }));
  const reference = (name: string) => `${registry.host}/base/${name}:1`;
  const puller = anyReal ?? ours;
  try {
    for (const name of pull) await engine.docker(puller)("pull", reference(name));
  } catch (error) {
    for (const name of ["dockerd", "registry-client", "containerd"] as const) {
      if (engine.suite.pid(name)) console.error(`${name}: ${engine.suite.output(name).slice(-3000)}`);
    }
    throw error;
  }
  engine.mark();
  const resources = undo.move();
  return {
    engine,
    registry: registry.host,
    busybox: reference("busybox"),
    debian: reference("debian"),
    attacker: reference("attacker"),
    docker: (cli = puller) => engine.docker(cli),
    push: pushImage,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/**
 * Open a world before a file's tests and close it after them; the function it returns is for use in the tests. Options that take something
 * to make are best given as a function: it is called only when one of the tests is wanted.
 */
export function useWorld(options?: WorldOptions | (() => WorldOptions | Promise<WorldOptions>)): () => World {
  let world: World | undefined;
  beforeAll(async () => {
    world = await openWorld(typeof options === "function" ? await options() : options);
  });
  afterAll(() => world?.[Symbol.asyncDispose]());
  return () => {
    if (!world) throw new Error("the world is open in tests only");
    return world;
  };
}
