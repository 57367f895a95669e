import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import { SNAPSHOTTER } from "../containerd/client.ts";
import type { Engine } from "../engine.ts";
import { type ManifestEntry, manifestsOf } from "./manifests.ts";
import { originsOf } from "./origins.ts";

/** `Manifests` of an image: what its name stands for, whether it is here or not. */
export async function manifestSummaries(
  engine: Engine,
  target: Descriptor,
  { identity = false }: { identity?: boolean } = {},
): Promise<object[]> {
  const entries = await manifestsOf(engine.containerd, target);
  const origin = identity ? await identityOf(engine, target) : undefined;
  return Promise.all(entries.map((entry) => summary(engine, entry, origin)));
}

async function summary(engine: Engine, entry: ManifestEntry, Identity: object | undefined): Promise<object> {
  const { descriptor, kind, image, isWhole, presentBytes, attests } = entry;
  const unpacked = image ? await unpackedBytes(engine, image.chainIds) : 0;
  const users = engine.containers.list().filter(({ record }) => record.manifestDigest === descriptor.digest);
  const { os = "", architecture = "", variant } = image?.config ?? {};
  const Platform = descriptor.platform ?? { architecture, os, ...(variant && { variant }) };
  return {
    ID: descriptor.digest,
    Descriptor: descriptor,
    Available: isWhole,
    Size: { Content: presentBytes, Total: presentBytes + unpacked },
    Kind: kind,
    ...(kind === "image" && {
      ImageData: {
        Platform,
        ...(isWhole && Identity && { Identity }),
        Size: { Unpacked: unpacked },
        Containers: users.length > 0 ? users.map(({ id }) => id) : null,
      },
    }),
    ...(kind === "attestation" && { AttestationData: { For: attests } }),
  };
}

/** Bytes of the layers that are unpacked. */
async function unpackedBytes(engine: Engine, chainIds: readonly string[]): Promise<number> {
  const usage = (key: string) => engine.containerd.snapshots.usage({ snapshotter: SNAPSHOTTER, key });
  const layers = await Promise.allSettled(chainIds.map(usage));
  return layers.reduce((sum, one) => sum + (one.status === "fulfilled" ? Number(one.value.size) : 0), 0);
}

/** Where an image comes from, of what is known for sure: the repositories that it was pulled from or pushed to. */
export async function identityOf(engine: Engine, target: Descriptor): Promise<object | undefined> {
  const repositories = await originsOf(engine, target);
  if (repositories.size === 0) return undefined;
  return { Pull: [...repositories].map((Repository) => ({ Repository })) };
}
