import { UsageError } from "@longshore/cli";

/** The command line of runtime v2, spelled with one dash or two. */
export interface Flags {
  namespace: string;
  id: string;
  /** containerd's gRPC socket. */
  address: string;
  /** containerd's binary; events are sent over ttrpc, so it is not run. */
  publishBinary: string;
  bundle: string;
  /** Our socket, told to the long-lived process by `start`. */
  socket: string;
  debug: boolean;
  action: "start" | "delete" | "serve" | "info";
}

const STRINGS: Record<string, "namespace" | "id" | "address" | "publishBinary" | "bundle" | "socket"> = {
  namespace: "namespace",
  id: "id",
  address: "address",
  "publish-binary": "publishBinary",
  bundle: "bundle",
  socket: "socket",
};

/** @throws UsageError for anything that is not documented */
export function parseFlags(argv: readonly string[]): Flags {
  const flags: Flags = {
    namespace: "",
    id: "",
    address: "",
    publishBinary: "",
    bundle: "",
    socket: "",
    debug: false,
    action: "serve",
  };
  const rest = [...argv];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (!word.startsWith("-")) {
      // Told to the long-lived process by `start`, like its socket.
      if (word === "serve-grpc") continue;
      if (word !== "start" && word !== "delete") throw new UsageError(`unknown action ${word}`);
      flags.action = word;
      continue;
    }
    const [, name = "", inline] = /^--?([^=]+)(?:=(.*))?$/.exec(word) ?? [];
    const key = STRINGS[name];
    if (key) {
      const value = inline ?? rest.shift();
      if (value === undefined) throw new UsageError(`flag needs an argument: -${name}`);
      flags[key] = value;
    } else if (name === "debug") {
      flags.debug = inline !== "false";
    } else if (name === "info") {
      flags.action = "info";
    } else {
      throw new UsageError(`flag provided but not defined: -${name}`);
    }
  }
  if (flags.action === "info") return flags;
  if (flags.namespace === "") throw new UsageError("shim namespace cannot be empty");
  if (flags.id === "" && flags.action !== "serve") throw new UsageError("shim id cannot be empty");
  return flags;
}
