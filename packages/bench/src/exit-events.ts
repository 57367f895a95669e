import fs from "node:fs";
import net from "node:net";
import { timed } from "./command.ts";
import { type BenchmarkResult, summarize } from "./measure.ts";
import type { Stack } from "./stacks.ts";

const LIMIT_MS = 3;
const WAIT_MS = 5000;

/** From the end of a container's process to the message in the hands of a subscriber to NATS. */
export async function measureExitEvents(stack: Stack, count: number): Promise<BenchmarkResult> {
  const samples: number[] = [];
  const { docker, env, image, suite } = stack;
  const subscriber = await subscribe(
    suite.natsUrl,
    fs.readFileSync(suite.paths.natsTokenFile, "utf8").trim(),
  );
  try {
    for (let round = 0; round < count; round++) {
      const run = await timed([docker, "run", "-d", "--network", "none", image, "sleep", "100000"], { env });
      const id = run.stdout;
      const format = ["--format", "{{.State.Pid}}"];
      const { stdout: pid } = await timed([docker, "inspect", ...format, id], { env });
      const heard = subscriber.hear(`.tasks.exit.${id}`);
      const killed = performance.now();
      process.kill(Number(pid), "SIGKILL");
      samples.push((await heard) - killed);
      await timed([docker, "rm", "-f", id], { env });
    }
  } finally {
    subscriber.close();
  }
  const summaries = new Map([["ours" as const, summarize(samples)]]);
  return { name: EXIT_EVENT, unit: "ms", limit: LIMIT_MS, summaries };
}

export const EXIT_EVENT = "process exit to NATS message";

interface Subscriber {
  /** When a message of a subject with this end has come. */
  hear(end: string): Promise<number>;
  close(): void;
}

async function subscribe(url: string, token: string): Promise<Subscriber> {
  const { hostname, port } = new URL(url);
  const socket = net.connect(Number(port), hostname);
  let wanted: { end: string; resolve: (at: number) => void } | undefined;
  socket.setNoDelay(true);
  await new Promise<void>((resolve, reject) => {
    socket.on("error", reject);
    socket.on("data", (chunk) => {
      const at = performance.now();
      const text = chunk.toString("latin1");
      if (text.startsWith("INFO"))
        socket.write(
          `CONNECT {"verbose":false,"headers":true,"auth_token":"${token}"}\r\nSUB longshore.events.> 1\r\nPING\r\n`,
        );
      if (text.includes("PONG\r\n")) resolve();
      if (text.includes("PING\r\n")) socket.write("PONG\r\n");
      if (wanted && text.includes(wanted.end)) wanted.resolve(at);
    });
  });
  return {
    hear(end) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no message of ${end}`)), WAIT_MS);
        wanted = {
          end,
          resolve: (at) => {
            clearTimeout(timer);
            resolve(at);
          },
        };
      });
    },
    close: () => socket.destroy(),
  };
}
