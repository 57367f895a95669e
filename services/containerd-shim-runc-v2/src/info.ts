import fs from "node:fs";
import { RuntimeInfo } from "@longshore/api/containerd/types/introspection";
import { Any } from "@longshore/api/google/protobuf/any";
import { COMMIT, VERSION } from "@longshore/cli";
import { OPTIONS_TYPE, runcOptions } from "./options.ts";
import { findRunc } from "./runc.ts";

const FEATURES_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/** `-info`: what this is and what the runtime can do, a RuntimeInfo on stdout. The runtime's options come on stdin. */
export async function info(): Promise<number> {
  const stdin = fs.readFileSync(0);
  const given = stdin.length > 0 ? Any.decode(stdin) : undefined;
  const options = runcOptions(given);
  const features = await featuresOf(findRunc(options.binaryName));
  const answer = RuntimeInfo.encode({
    name: "io.containerd.runc.v2",
    version: { version: VERSION, revision: COMMIT },
    options: given && { typeUrl: OPTIONS_TYPE, value: given.value },
    features: features && { typeUrl: FEATURES_TYPE, value: features },
    annotations: {},
  }).finish();
  fs.writeSync(1, answer);
  return 0;
}

/** JSON; undefined for a runtime that doesn't know the command. */
async function featuresOf(binary: string): Promise<Buffer | undefined> {
  const child = Bun.spawn([binary, "features"], { stdio: ["ignore", "pipe", "ignore"] });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) return undefined;
  try {
    return Buffer.from(JSON.stringify(JSON.parse(text)));
  } catch {
    return undefined;
  }
}
