import { spawn } from "node:child_process";
import dns from "node:dns/promises";
import fs from "node:fs";
import net from "node:net";
import { EngineError, Errno } from "@longshore/errors";
import { attributesOf, parseOptions } from "@longshore/mounts";
import { AT_FDCWD, errnoText, MS_BIND, MS_REC, mount, mountSetattr, umount2 } from "@longshore/syscalls";
import type { VolumeOptions } from "./volume-options.ts";

const MNT_DETACH = 2;
/** File systems that are mounted at once, with nobody to wait for. */
const PROMPT = ["tmpfs", "ramfs"];
const MOUNT_TIMEOUT_MS = 30_000;

/**
 * Mount a volume's own file system.
 * @throws EngineError `internal` in Docker's words
 */
export async function mountVolume(options: VolumeOptions, target: string): Promise<void> {
  const { type, device } = options;
  const { flags, data, propagation } = parseOptions(options.words);
  const isBind = type === "bind" || (flags & MS_BIND) !== 0;
  try {
    if (isBind) {
      mount({ source: device, target, flags: MS_BIND | (flags & MS_REC) });
      const attributes = attributesOf(flags);
      if (attributes !== 0) mountSetattr(AT_FDCWD, target, { set: attributes });
      for (const { type: kind, recursive } of propagation)
        mountSetattr(AT_FDCWD, target, { propagation: kind, recursive });
    } else if (PROMPT.includes(type)) mount({ source: device, target, type, flags, data: data.join(",") });
    else await mountApart({ ...options, words: await withAddress(options) }, target);
  } catch (error) {
    if (isMounted(target)) unmountVolume(target);
    const shown = [
      `${device}:${target}`,
      ...(flags !== 0 ? [`flags: 0x${flags.toString(16)}`] : []),
      ...(data.length > 0 ? [`data: ${data.join(",")}`] : []),
    ].join(", ");
    const why = error instanceof Errno ? errnoText(error.errno) : String((error as Error).message);
    throw new EngineError("internal", `failed to mount local volume: mount ${shown}: ${why.toLowerCase()}`, {
      cause: error,
    });
  }
}

/** Servers may not answer: the call is made in a process of its own, which waits instead of this one. */
async function mountApart({ type, device, words }: VolumeOptions, target: string): Promise<void> {
  const options = words.length > 0 ? ["-o", words.join(",")] : [];
  // Without helpers of other packages: the kernel gets the words as they are.
  const child = spawn("mount", ["-i", "-n", "-t", type, ...options, device, target], {
    stdio: ["ignore", "ignore", "pipe"],
    timeout: MOUNT_TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  let text = "";
  child.stderr.on("data", (piece: Buffer) => {
    text += piece.toString();
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (status === 0) return;
  const [line = ""] = text.trim().split("\n");
  throw new Error(line.replace(/^mount: [^:]*: /, "").replace(/\.$/, "") || "no answer in time");
}

/** The kernel looks up no names: an NFS server's address goes in their place. */
async function withAddress({ type, words }: VolumeOptions): Promise<string[]> {
  if (!type.startsWith("nfs")) return words;
  return Promise.all(
    words.map(async (word) => {
      const host = /^addr=(.+)$/.exec(word)?.[1];
      if (host === undefined || net.isIP(host)) return word;
      return `addr=${(await dns.lookup(host)).address}`;
    }),
  );
}

/** Take a mount away, also one whose files are still open somewhere. */
export function unmountVolume(target: string): void {
  umount2(target, MNT_DETACH);
}

/** Whether something is mounted at just this path. */
export function isMounted(target: string): boolean {
  return mountsBelow(target).includes(target);
}

/** Where something is mounted at a path or below it, the last first. */
export function mountsBelow(parent: string): string[] {
  const points = mountTable().map(({ at }) => at);
  return points.filter((point) => point === parent || point.startsWith(`${parent}/`)).reverse();
}

/** The mount that a path is on, with its optional fields (`shared:1`). */
export function mountOf(file: string): { at: string; fields: string[] } {
  const real = fs.realpathSync(file);
  const above = mountTable().filter(({ at }) => at === "/" || real === at || real.startsWith(`${at}/`));
  return above.reduce((best, one) => (one.at.length >= best.at.length ? one : best), { at: "/", fields: [] });
}

function mountTable(): { at: string; fields: string[] }[] {
  const lines = fs.readFileSync("/proc/self/mountinfo", "utf8").trim().split("\n");
  return lines.map((line) => {
    const [, , , , at = "", , ...rest] = line.split(" ");
    const text = at.replace(/\\([0-7]{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    return { at: text, fields: rest.slice(0, rest.indexOf("-")) };
  });
}
