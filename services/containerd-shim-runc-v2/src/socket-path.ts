import { mkdirAll } from "@longshore/syscalls";
import type { Flags } from "./flags.ts";
import { dirname } from "./paths.ts";

/** Longest path of a unix socket that every peer can connect to. */
const MAX_SOCKET_PATH = 106;

/**
 * Where this shim listens: `<directory>/<sha256 of address/namespace/id>`, as the original, beside containerd's own socket. The
 * directory is made.
 *
 * @param asked the directory that containerd wants; empty: none in particular
 */
export function socketPath({ address, namespace, id }: Flags, asked: string): string {
  const name = [address, namespace, id].filter(Boolean).join("/").replace(/\/+/g, "/");
  const hash = new Bun.CryptoHasher("sha256").update(name).digest("hex");
  const beside = `${dirname(address || "/run/longshore/containerd/x")}/s`;
  for (const directory of [asked, beside]) {
    const socket = `${directory}/${hash}`;
    if (directory === "" || socket.length > MAX_SOCKET_PATH) continue;
    mkdirAll(directory, 0o700);
    return socket;
  }
  mkdirAll("/run/longshore/s", 0o700);
  return `/run/longshore/s/${hash}`;
}
