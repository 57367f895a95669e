import http from "node:http";
import { performance } from "node:perf_hooks";
import type { Benchmark } from "./measure.ts";
import type { Stack } from "./stacks.ts";

const LISTED = 1000;
const LIMIT_MS = 100;
const MADE_AT_ONCE = 8;

/** The list of a thousand containers of our engine's, as a program gets it. */
export function listBenchmark(stacks: readonly Stack[]): Benchmark {
  const [ours] = stacks;
  let made: Promise<void> | undefined;
  return {
    name: "list of 1,000 containers",
    limit: LIMIT_MS,
    contenders: new Map(
      ours
        ? [
            [
              "ours",
              async () => {
                made ??= makeMany(ours);
                await made;
                const begun = performance.now();
                const text = await ask(ours, "GET", "/containers/json?all=1");
                const ms = performance.now() - begun;
                const { length } = JSON.parse(text) as unknown[];
                if (length < LISTED) throw new Error(`${length} containers are listed`);
                return ms;
              },
            ],
          ]
        : [],
    ),
  };
}

async function makeMany(stack: Stack): Promise<void> {
  const body = JSON.stringify({ Image: stack.image, Cmd: ["true"] });
  const maker = async () => {
    for (let count = 0; count < LISTED / MADE_AT_ONCE; count++)
      await ask(stack, "POST", "/containers/create", body);
  };
  await Promise.all(Array.from({ length: MADE_AT_ONCE }, maker));
}

/** The body of an answer. @throws Error for a refusal */
function ask({ suite }: Stack, method: string, path: string, body = ""): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      {
        ...{ socketPath: suite.paths.dockerSocket, method, path: `/v1.41${path}` },
        headers: { Host: "docker", ...(body && { "Content-Type": "application/json" }) },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("end", () => {
          const text = Buffer.concat(chunks).toString();
          if ((response.statusCode ?? 500) < 400) resolve(text);
          else reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
        });
      },
    );
    request.once("error", reject);
    request.end(body);
  });
}
