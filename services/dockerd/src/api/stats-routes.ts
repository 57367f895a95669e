import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { EngineError } from "@longshore/errors";
import type { Container } from "../containers/container.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import type { Route } from "../http/server.ts";
import { type Sample, showSample, takeSample } from "../stats/container-stats.ts";

const INTERVAL_MS = 1000;

/** Use of resources. */
export function statsRoutes(engine: Engine): Route[] {
  return [
    {
      method: "GET",
      path: "/containers/:id/stats",
      handler: (call) => sendStats(engine, call, engine.containers.find(call.param("id"))),
    },
  ];
}

async function sendStats(engine: Engine, call: ApiCall, container: Container): Promise<void> {
  const oneShot = call.atLeast("1.41") && call.flag("one-shot");
  const stream = call.query.has("stream") ? call.flag("stream") : true;
  // Newer versions stream all the same.
  if (oneShot && stream && !call.atLeast("1.52")) {
    throw new EngineError("invalid_argument", "cannot have stream=true and one-shot=true");
  }
  let before = await takeSample(engine, container);
  if (!stream) {
    let sample: Sample | undefined = before;
    if (oneShot) before = undefined;
    else if (before) {
      await sleep(INTERVAL_MS, undefined, { signal: call.signal });
      sample = await takeSample(engine, container);
    }
    const output = call.stream("application/json");
    output.end(`${showSample(container, sample, before)}\n`);
    return;
  }
  const output = call.stream("application/json");
  try {
    while (engine.containers.get(container.id) === container) {
      await sleep(INTERVAL_MS, undefined, { signal: call.signal });
      const sample = await takeSample(engine, container);
      const taken = output.write(`${showSample(container, sample, before)}\n`);
      before = sample;
      // A client that doesn't read gets fewer, not all of them later.
      if (!taken) await once(output, "drain", { signal: call.signal });
    }
  } catch (error) {
    if (call.signal.aborted) return; // the client has gone
    throw error;
  }
  output.end();
}
