import { fixedBuffer, read, renameCommandLine } from "@longshore/syscalls";
import { addVariables } from "./environment.ts";
import { runServer } from "./run-server.ts";
import { stay } from "./stay.ts";

/** What a standby is told by its containerd, as JSON to the end of its stdin. */
export interface Commission {
  /** The command line that `start` would have had, without the executable. */
  argv: string[];
  /** The container's bundle: the working directory. */
  bundle: string;
  /** What differs from container to container. */
  environment: Record<string, string>;
}

/**
 * `standby`: a shim that was started before there was a container for it, so that a container needn't wait for its start. It waits for its
 * commission, and is from then on what `start` makes of it, also in the list of processes. When containerd ends before, it ends too.
 */
export function standBy(): void {
  const text = readToEnd();
  if (text === "") process.exit(0);
  const { argv, bundle, environment } = JSON.parse(text) as Commission;
  process.chdir(bundle);
  addVariables(environment);
  renameCommandLine([process.argv0, ...argv]);
  runServer(stay, argv);
}

function readToEnd(): string {
  const buffer = fixedBuffer(4096);
  let text = "";
  for (let n = read(0, buffer); n > 0; n = read(0, buffer)) text += buffer.toString("utf8", 0, n);
  return text;
}
