import { execFile } from "node:child_process";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { binDir } from "./paths.ts";
import { type ProcessTreeOptions, processTree } from "./process-tree.ts";
import { Refusal, runScript } from "./refusal.ts";
import { progress, setup } from "./setup.ts";

/** Not the port of anything known; a registry only while the image is pulled. */
const IMAGE_PORT = 5780;
const IMAGE = `127.0.0.1:${IMAGE_PORT}/busybox`;

/** A daemon that ends this often within a minute is not started again. */
const MAX_DEATHS_PER_MINUTE = 5;

type SuiteModule = typeof import("@longshore/suite");

async function docker(dockerHost: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, DOCKER_HOST: dockerHost };
  try {
    const { stdout } = await promisify(execFile)(path.join(binDir, "docker"), args, { env });
    return stdout.trim();
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    throw new Refusal(`docker ${args.join(" ")} failed with ${code}: ${(stderr ?? "").trim()}`);
  }
}

async function ensureImage(suite: SuiteModule, dockerHost: string): Promise<void> {
  if ((await docker(dockerHost, "images", "-q", IMAGE)) !== "") return;
  const busybox = suite.findStaticBusybox();
  if (!busybox) throw new Refusal("the package busybox-static has no static busybox");
  progress(`pull ${IMAGE}, made of this machine's ${busybox}`);
  const images = { "busybox:latest": suite.busyboxImage(busybox) };
  await using _server = await suite.serveImages({ images, port: IMAGE_PORT });
  await docker(dockerHost, "pull", IMAGE);
}

/** The process tree without what still takes the first container away, for which it waits a moment. */
async function settledTree(options: ProcessTreeOptions): Promise<string> {
  const deadline = Date.now() + 2000;
  for (;;) {
    const tree = processTree(options);
    const leaving = tree.includes(`${binDir}/runc `) || tree.includes("<defunct>");
    if (!leaving || Date.now() > deadline) return tree;
    await delay(20);
  }
}

function howToGoOn(dockerHost: string): string {
  return `
The engine is running. In another terminal:

  export DOCKER_HOST=${dockerHost} PATH=${binDir}:$PATH
  docker run --rm -it ${IMAGE} sh
  docker run -d --name web ${IMAGE} sh -c 'while date; do sleep 1; done' && docker logs web

Any other docker client works as well. Ctrl-C stops the daemons; running containers go on running,
and the next start finds them again.
`;
}

/** What a daemon said before it ended is all that the user needs; a stack of ours would hide it. */
function asRefusal({ AlreadyRunning, DaemonFailure }: SuiteModule): (error: unknown) => never {
  return (error) => {
    if (error instanceof DaemonFailure || error instanceof AlreadyRunning) throw new Refusal(error.message);
    throw error;
  };
}

async function start(): Promise<number> {
  const abort = new AbortController();
  const stopRequested = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        abort.abort(new Refusal("stopped before it was up"));
        resolve();
      });
    }
  });

  setup();
  const module: SuiteModule = await import("@longshore/suite");
  const { record } = module.suitePaths();
  const stopped = await module.stopLeftBehind(record).catch(asRefusal(module));
  if (stopped.length > 0) progress(`stopped ${stopped.join(", ")}: left running by a start that was killed`);

  progress("start nats-server, containerd, registry-client, dockerd");
  const deaths: number[] = [];
  let giveUp: (reason: unknown) => void = () => {};
  const gaveUp = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  gaveUp.catch(() => {}); // it may be rejected before anyone waits for it
  const suite = await module
    .startSuite({
      binDir,
      signal: abort.signal,
      onDeath: (name, death) => {
        console.error(death.message);
        if (abort.signal.aborted) return;
        deaths.push(Date.now());
        if (deaths.filter((at) => at > Date.now() - 60_000).length > MAX_DEATHS_PER_MINUTE) {
          giveUp(new Refusal(`${name} ends again and again`));
          return;
        }
        progress(`start ${name} again`);
        suite.start(name).catch(giveUp);
      },
    })
    .catch(asRefusal(module));

  try {
    await ensureImage(module, suite.dockerHost);
    const command = ["run", "--rm", IMAGE, "echo", "hello from a container"];
    progress(`docker ${command.join(" ")}`);
    console.log(await docker(suite.dockerHost, ...command));
    const pids = module.componentNames.flatMap((name) => suite.pid(name) ?? []);
    console.log(`\n${await settledTree({ pids, binDir, runDir: suite.paths.run })}`);
    console.log(howToGoOn(suite.dockerHost));
    await Promise.race([stopRequested, gaveUp]);
    return 0;
  } finally {
    progress("stop dockerd, registry-client, containerd, nats-server");
    const killed = await suite.stop();
    for (const name of killed) console.error(`${name} did not end on SIGTERM and was killed`);
  }
}

await runScript(start);
