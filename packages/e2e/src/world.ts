import { afterAll, beforeAll } from "bun:test";
import path from "node:path";
import {
  busyboxImage,
  findStaticBusybox,
  type ImageServer,
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

export const binDir = path.resolve(
  process.env.LONGSHORE_BIN_DIR ?? path.join(import.meta.dir, "../../../dist/bin"),
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
  docker(cli?: DockerCli): Docker;
  /** Stop the registry server. */
  stopRegistry(): Promise<void>;
}

export interface WorldOptions extends Partial<Omit<EngineOptions, "cli">> {
  /** Which images to pull before the tests. */
  pull?: ("busybox" | "debian")[];
}

export function machineBusybox(): LocalImage {
  const busybox = findStaticBusybox();
  if (!busybox) throw new Error("this machine has no static busybox (package busybox-static)");
  return busyboxImage(busybox);
}

async function openRegistry(
  dir: string,
  images: Record<string, LocalImage>,
): Promise<Registry | ImageServer> {
  const registry = await startRegistry(dir);
  if (!registry) {
    skipped("docker-registry is not installed: images come from an endpoint of ours instead");
    return serveImages({ images });
  }
  for (const [name, image] of Object.entries(images)) {
    const [repository = "", tag = ""] = name.split(":");
    await registry.push(repository, tag, image);
  }
  return registry;
}

/** With LONGSHORE_E2E_REFERENCE=1 the tests run against the real daemons: a check of the tests themselves. */
function real(): Partial<EngineOptions> & { cli?: DockerCli } {
  const [dockerd, containerd] = [realDockerd(), realContainerd()];
  if (!process.env.LONGSHORE_E2E_REFERENCE || !dockerd || !containerd || !anyReal) return {};
  return {
    cli: anyReal,
    bridgeFirst: true,
    without: ["registry-client"],
    components: { dockerd, containerd },
  };
}

async function openWorld({ pull = ["busybox"], ...options }: WorldOptions = {}): Promise<World> {
  await using undo = new AsyncDisposableStack();
  const dir = undo.use(tempDir());
  const images: Record<string, LocalImage> = { "base/busybox:1": machineBusybox() };
  if (pull.includes("debian")) images["base/debian:1"] = await debianImage();
  const registry = undo.use(await openRegistry(dir.path, images));
  const engine = undo.use(await startEngine({ binDir, cli: ours, ...real(), ...options }));
  const reference = (name: string) => `${registry.host}/base/${name}:1`;
  const puller = real().cli ?? ours;
  for (const name of pull) await engine.docker(puller)("pull", reference(name));
  engine.mark();
  const resources = undo.move();
  return {
    engine,
    registry: registry.host,
    busybox: reference("busybox"),
    debian: reference("debian"),
    docker: (cli = puller) => engine.docker(cli),
    stopRegistry: async () => registry[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** Open a world before a file's tests and close it after them; the function it returns is for use in the tests. */
export function useWorld(options?: WorldOptions): () => World {
  let world: World | undefined;
  beforeAll(async () => {
    world = await openWorld(options);
  });
  afterAll(() => world?.[Symbol.asyncDispose]());
  return () => {
    if (!world) throw new Error("the world is open in tests only");
    return world;
  };
}
