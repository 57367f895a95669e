import { compatiblePlatforms, normalizePlatform, type Platform } from "@longshore/oci";
import { fromTimestamp } from "../containerd/timestamp.ts";
import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import type { NamedImage } from "./image.ts";
import type { ImageConfig } from "./image-config.ts";
import type { FoundImage } from "./image-store.ts";
import { imageSize } from "./list-images.ts";
import { identityOf, manifestSummaries } from "./manifest-summary.ts";
import { descriptorJson } from "./manifests.ts";
import { repoNames } from "./names.ts";
import { platformImage, shownName } from "./platform-image.ts";
import { shortDigest } from "./pull-progress.ts";

/** An image with all its names. @throws EngineError `not_found` */
export async function findNamed(engine: Engine, nameOrId: string): Promise<NamedImage & FoundImage> {
  const found = await engine.images.find(nameOrId);
  const named = (await engine.images.list()).find(({ image }) => image.id === found.image.id);
  return { ...found, names: named?.names ?? [], targets: named?.targets ?? [], namedAt: named?.namedAt };
}

export interface InspectOptions {
  /** Show what the image is on this platform. */
  platform: Platform | undefined;
  /** Say as well what manifests the name stands for. */
  manifests: boolean;
}

/** An image as `GET /images/{name}/json`. */
export async function inspectImage(
  engine: Engine,
  nameOrId: string,
  call: ApiCall,
  { platform, manifests }: InspectOptions,
): Promise<object> {
  const named = await findNamed(engine, nameOrId);
  const { target } = named;
  const chosen = platform && (await platformImage(engine, named, [platform], nameOrId));
  const image = chosen?.image ?? named.image;
  const { config, id } = image;
  const { tags, digests } = repoNames(named);
  const size = await imageSize(engine, image);
  const created = config.created ?? (call.atLeast("1.44") ? "" : ZERO_TIME);
  const identity = call.atLeast("1.53") ? await identityOf(engine, target) : undefined;
  return {
    Id: id,
    RepoTags: tags,
    RepoDigests: digests,
    ...showHistoric(config, call),
    ...(created !== "" && { Created: created }),
    ...(showsContainer(call) && { Container: "", ContainerConfig: showImageConfig(config.config, call) }),
    Config: showImageConfig(config.config, call),
    Architecture: config.architecture,
    ...(config.variant && { Variant: config.variant }),
    Os: config.os,
    Size: size,
    ...(!call.atLeast("1.44") && { VirtualSize: size }),
    // Since then only where layers aren't containerd's.
    ...(!call.atLeast("1.52") && { GraphDriver: { Data: null, Name: "overlayfs" } }),
    RootFS: { Type: "layers", Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: named.namedAt ? fromTimestamp(named.namedAt) : ZERO_TIME },
    ...(call.atLeast("1.48") && { Descriptor: chosen?.descriptor ?? descriptorJson(target) }),
    ...(manifests && { Manifests: await manifestSummaries(engine, target) }),
    ...(identity && { Identity: identity }),
  };
}

/**
 * Whether an image's answer has a container's settings: gone since 1.45, but docker-compose 1.x, which asks by the newest version there
 * is, looks there for the volumes of each container that it makes anew, and fails without.
 */
function showsContainer({ atLeast, request }: ApiCall): boolean {
  return !atLeast("1.45") || /^docker-compose\/1\./.test(request.headers["user-agent"] ?? "");
}

const ZERO_TIME = "0001-01-01T00:00:00Z";

/** Fields that are left out when they are empty, since 1.52. */
function showHistoric(config: ImageConfig, call: ApiCall): object {
  const fields = {
    Parent: "",
    Comment: config.comment || (config.history?.at(-1)?.comment ?? ""),
    DockerVersion: config.docker_version ?? "",
    Author: config.author ?? "",
  };
  return call.atLeast("1.52") ? withoutEmpty(fields) : fields;
}

/** What an image can say of its containers, as its specification has it: all that is shown since 1.50. */
const IMAGE_SETTINGS = {
  User: "",
  Env: null,
  Cmd: null,
  Volumes: null,
  WorkingDir: "",
  Entrypoint: null,
  OnBuild: null,
  Labels: null,
};
/** They are left out when they are empty, in all versions. */
const OTHER_SETTINGS = ["ExposedPorts", "StopSignal", "ArgsEscaped", "Healthcheck", "Shell"];

/** What older versions show of a container's settings, as if images had them. */
const CONTAINER_SETTINGS = {
  Hostname: "",
  Domainname: "",
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Image: "",
};

/** `Config` of an image. */
export function showImageConfig(config: ImageConfig["config"], call: Pick<ApiCall, "atLeast">): object {
  if (!call.atLeast("1.50")) return { ...CONTAINER_SETTINGS, ...IMAGE_SETTINGS, ...config };
  const names = [...Object.keys(IMAGE_SETTINGS), ...OTHER_SETTINGS];
  const own = Object.fromEntries(Object.entries(config ?? {}).filter(([name]) => names.includes(name)));
  return call.atLeast("1.52") ? withoutEmpty(own) : { ...IMAGE_SETTINGS, ...own };
}

/** As Go's `omitempty` leaves fields out. */
function withoutEmpty(fields: object): object {
  const isEmpty = (value: unknown) =>
    !value || (typeof value === "object" && Object.keys(value).length === 0);
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value)));
}

/** An image's steps as `GET /images/{name}/history`, newest first; of a platform's image, or one that runs there too. */
export async function imageHistory(
  engine: Engine,
  nameOrId: string,
  platform: Platform | undefined,
): Promise<object[]> {
  const named = await findNamed(engine, nameOrId);
  const image = platform
    ? (
        await platformImage(
          engine,
          named,
          [platform, ...compatiblePlatforms(normalizePlatform(platform))],
          shownName(named, nameOrId),
        )
      ).image
    : named.image;
  const { config, id, chainIds } = image;
  const { tags } = repoNames(named);
  const sizes = await Promise.all(
    chainIds.map((key) => imageSize(engine, { ...image, chainIds: [key], contentBytes: 0 })),
  );
  let layer = 0;
  const rows = (config.history ?? []).map((step) => ({
    Id: "<missing>",
    Created: Math.floor(Date.parse(step.created ?? "") / 1000) || 0,
    CreatedBy: step.created_by ?? "",
    Tags: null as string[] | null,
    Size: step.empty_layer ? 0 : (sizes[layer++] ?? 0),
    Comment: step.comment ?? "",
  }));
  const newest = rows.at(-1);
  if (newest) Object.assign(newest, { Id: id, Tags: tags.length > 0 ? tags : null });
  return rows.reverse();
}

/** How Docker names an image in short. */
export function shortImageId(id: string): string {
  return shortDigest(id);
}
