import path from "node:path";
import { COMMIT, VERSION } from "@longshore/cli";
import type { Engine } from "../engine.ts";
import { sendEvents } from "../events/send-events.ts";
import { API_VERSION } from "../http/api-version.ts";
import type { ApiCall } from "../http/call.ts";
import type { Route } from "../http/server.ts";
import { defaultRuntimeVersion, initVersion, type ProgramVersion } from "../system/components.ts";
import { diskUsage } from "../system/disk-usage.ts";
import { kernelVersion } from "../system/host-facts.ts";
import { daemonInfo } from "../system/info.ts";
import { SharedWork } from "../system/shared-work.ts";

/** Operations on the engine itself. */
export function systemRoutes(engine: Engine): Route[] {
  const usages = new SharedWork<object>();
  const ping = (call: ApiCall) =>
    call.text(200, "OK", {
      "Builder-Version": "1",
      Swarm: "inactive",
      "Cache-Control": "no-cache, no-store, must-revalidate",
      Pragma: "no-cache",
      ...(call.request.method === "HEAD" && { "Content-Length": "0" }),
    });
  return [
    { method: "GET", path: "/_ping", handler: ping },
    { method: "HEAD", path: "/_ping", handler: ping },
    // What a browser asks of another origin: whatever the path, there is no more to say.
    { method: "OPTIONS", path: "/*", handler: (call) => call.empty(200) },
    { method: "GET", path: "/version", handler: async (call) => call.json(200, await version(engine)) },
    { method: "GET", path: "/info", handler: async (call) => call.json(200, await daemonInfo(engine, call)) },
    {
      method: "GET",
      path: "/system/df",
      lists: ["type"],
      handler: async (call) => {
        // It is much to find out: who asks meanwhile gets the same.
        const key = `${call.version}?${call.query}`;
        call.json(200, await usages.run(key, () => diskUsage(engine, call)));
      },
    },
    { method: "GET", path: "/events", handler: (call) => sendEvents(engine, call) },
  ];
}

async function version(engine: Engine): Promise<object> {
  const [{ version: containerd, revision }, runtime, init] = await Promise.all([
    engine.containerd.version.version({}),
    defaultRuntimeVersion(engine),
    initVersion(engine),
  ]);
  const program = (Name: string, found: ProgramVersion | undefined) =>
    found ? [{ Name, Version: found.version, Details: { GitCommit: found.commit } }] : [];
  const details = {
    ApiVersion: API_VERSION,
    Arch: process.arch === "x64" ? "amd64" : process.arch,
    BuildTime: "",
    Experimental: "false",
    GitCommit: COMMIT,
    GoVersion: "",
    KernelVersion: kernelVersion(),
    MinAPIVersion: engine.flags.minApiVersion,
    Os: "linux",
  };
  return {
    Platform: { Name: "Longshore" },
    Components: [
      { Name: "Engine", Version: VERSION, Details: details },
      { Name: "containerd", Version: containerd, Details: { GitCommit: revision } },
      ...program(engine.flags.defaultRuntime, runtime),
      ...program(path.basename(engine.flags.initPath ?? "docker-init"), init),
    ],
    Version: VERSION,
    ...details,
    Experimental: false,
  };
}
