import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { errorCode } from "@longshore/errors";
import { type Reference, tryParseReference } from "@longshore/reference";
import type { Engine } from "../engine.ts";

/** Label of a blob: repositories of a host that hold it; the host is without its port. */
const SOURCE_LABEL = "containerd.io/distribution.source.";

/** containerd refuses a label whose key and value are longer than this together. */
const LABEL_LENGTH_MAX = 4096;

/** The repositories that a manifest or index was pulled from or pushed to; none of what isn't here. */
export async function originsOf(engine: Engine, { digest }: Descriptor): Promise<Set<string>> {
  const repositories = new Set<string>();
  for (const [key, value] of Object.entries(await labelsOf(engine, digest))) {
    if (!key.startsWith(SOURCE_LABEL)) continue;
    for (const name of value.split(",")) {
      const reference = tryParseReference(`${key.slice(SOURCE_LABEL.length)}/${name}`);
      if (reference) repositories.add(originOf(reference));
    }
  }
  return repositories;
}

/** A repository as it is among those. */
export function originOf({ domain, path }: Pick<Reference, "domain" | "path">): string {
  return `${domain.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1")}/${path}`;
}

/** Note one more repository that holds it. */
export async function addOrigin(
  engine: Engine,
  { digest }: Descriptor,
  { domain, path }: Reference,
): Promise<void> {
  const origin = originOf({ domain, path });
  const key = `${SOURCE_LABEL}${origin.slice(0, -path.length - 1)}`;
  const known = ((await labelsOf(engine, digest))[key] ?? "").split(",").filter(Boolean);
  const value = [...new Set([...known, path])].sort().join(",");
  if (known.includes(path) || key.length + value.length > LABEL_LENGTH_MAX) return;
  const info = { digest, size: 0n, createdAt: undefined, updatedAt: undefined, labels: { [key]: value } };
  await engine.containerd.content.update({ info, updateMask: [`labels.${key}`] });
}

async function labelsOf(engine: Engine, digest: string): Promise<Record<string, string>> {
  try {
    return (await engine.containerd.content.info({ digest })).info?.labels ?? {};
  } catch (error) {
    if (errorCode(error) === "not_found") return {};
    throw error;
  }
}
