import { EngineError, errorCode } from "@longshore/errors";
import {
  compatiblePlatforms,
  formatPlatform,
  hostPlatform,
  isPlatform,
  normalizePlatform,
  type Platform,
} from "@longshore/oci";
import type { Engine } from "../engine.ts";
import { type FullDescriptor, REFERENCE_DIGEST, REFERENCE_TYPE, readManifest } from "./manifests.ts";
import { platformOf, readBlob } from "./read-image.ts";

const OCI_INDEX = "application/vnd.oci.image.index.v1+json";
const PREDICATE_TYPE = "in-toto.io/predicate-type";

export interface AttestationOptions {
  /** Of the image that is attested; undefined means the host's. */
  platform: Platform | undefined;
  /** Only statements of these types; none: all. */
  predicateTypes: readonly string[];
  /** Give the statements themselves too. */
  withStatement: boolean;
}

/**
 * The in-toto statements that builders have put into an image's index, beside the image.
 *
 * @throws EngineError `not_found` for the image, a platform that the index lacks, or attestations that aren't here
 * @see BuildKit, `docs/attestations/attestation-storage.md`
 */
export async function imageAttestations(
  engine: Engine,
  nameOrId: string,
  { platform, predicateTypes, withStatement }: AttestationOptions,
): Promise<object[]> {
  const { target } = await engine.images.find(nameOrId);
  if (target.mediaType !== OCI_INDEX) return [];
  const { manifests = [] } = await readHere(engine, target.digest);
  const attested = manifestFor(manifests, platform ?? hostPlatform());
  const attestation = manifests.find(({ annotations = {} }) => {
    const isOne = annotations[REFERENCE_TYPE] === "attestation-manifest";
    return isOne && annotations[REFERENCE_DIGEST] === attested.digest;
  });
  if (!attestation) return [];
  const { layers = [] } = await readHere(engine, attestation.digest);
  const statements = layers.flatMap((Descriptor) => {
    const PredicateType = Descriptor.annotations?.[PREDICATE_TYPE] ?? "";
    const isMeant = predicateTypes.length === 0 || predicateTypes.includes(PredicateType);
    return PredicateType !== "" && isMeant ? [{ Descriptor, PredicateType }] : [];
  });
  if (!withStatement) return statements;
  return Promise.all(
    statements.map(async (one) => ({ ...one, Statement: await statementOf(engine, one.Descriptor.digest) })),
  );
}

/** The best entry for a platform; one that names none fits where no other does. */
function manifestFor(manifests: readonly FullDescriptor[], wanted: Platform): FullDescriptor {
  for (const candidate of compatiblePlatforms(normalizePlatform(wanted))) {
    const found = manifests.find(({ platform }) => platform && isPlatform(platformOf(platform), candidate));
    if (found) return found;
  }
  const unnamed = manifests.find(({ platform }) => platform === undefined);
  if (unnamed) return unnamed;
  const { os, architecture, variant } = wanted;
  throw new EngineError(
    "not_found",
    `resolving image manifest for platform &{Architecture:${architecture} OS:${os} OSVersion: OSFeatures:[] Variant:${variant}}: no manifest for platform ${formatPlatform(wanted)}: not found`,
  );
}

async function readHere(engine: Engine, digest: string) {
  const manifest = await readManifest(engine.containerd, digest);
  if (manifest) return manifest;
  throw new EngineError("not_found", `reading blob ${digest}: content digest ${digest}: not found`);
}

async function statementOf(engine: Engine, digest: string): Promise<unknown> {
  try {
    return JSON.parse((await readBlob(engine.containerd, digest)).toString());
  } catch (cause) {
    const code = cause instanceof SyntaxError ? "data_loss" : errorCode(cause);
    const why = code === "not_found" ? "is not available locally" : "can't be read";
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new EngineError(code, `attestation statement ${digest} ${why}: ${message}`, { cause });
  }
}
