import { OCI_INDEX } from "./media-types.ts";
import { formatReferrers, type Referrer, referrersTagOf } from "./registry/referrers.ts";
import type { Repository } from "./registry/repository.ts";
import type { FetchedManifest } from "./resolve.ts";

/**
 * Add a manifest that has been pushed to the tag that stands for the referrers of its subject: what clients have to do where the registry
 * does not.
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests-with-subject
 */
export async function addReferrer(
  repository: Repository,
  { descriptor, parsed }: FetchedManifest,
  signal: AbortSignal,
): Promise<void> {
  const subject = parsed.subject?.digest;
  if (subject === undefined) return;
  const listed = await repository.referrersTag(subject, signal);
  if (listed.some(({ digest }) => digest === descriptor.digest)) return;
  const ofConfig = parsed.kind === "manifest" ? parsed.config.mediaType : "";
  const added: Referrer = {
    ...descriptor,
    artifactType: parsed.artifactType ?? ofConfig,
    ...(parsed.annotations && { annotations: parsed.annotations }),
  };
  const bytes = formatReferrers([...listed, added]);
  await repository.putManifest(referrersTagOf(subject), { bytes, mediaType: OCI_INDEX }, signal);
}
