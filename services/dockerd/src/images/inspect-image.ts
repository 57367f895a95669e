import type { Engine } from "../engine.ts";
import type { ApiCall } from "../http/call.ts";
import type { NamedImage } from "./image.ts";
import { imageSize } from "./list-images.ts";
import { repoNames } from "./names.ts";
import { shortDigest } from "./pull-progress.ts";

/** An image with all its names. @throws EngineError `not_found` */
export async function findNamed(
  engine: Engine,
  nameOrId: string,
): Promise<NamedImage & { name: string | undefined }> {
  const { image, name } = await engine.images.find(nameOrId);
  const named = (await engine.images.list()).find((one) => one.image.id === image.id);
  return { image, names: named?.names ?? [], targets: named?.targets ?? [], name };
}

/** An image as `GET /images/{name}/json`. */
export async function inspectImage(engine: Engine, nameOrId: string, call: ApiCall): Promise<object> {
  const named = await findNamed(engine, nameOrId);
  const { config, id } = named.image;
  const { tags, digests } = repoNames(named);
  const size = await imageSize(engine, named.image);
  const settings = showImageConfig(config.config ?? {});
  return {
    Id: id,
    RepoTags: tags,
    RepoDigests: digests,
    Parent: "",
    Comment: config.comment ?? "",
    Created: config.created ?? "",
    // Clients look there for the volumes that a container of the image has.
    ...(!call.atLeast("1.45") && { Container: "", ContainerConfig: settings }),
    DockerVersion: config.docker_version ?? "",
    Author: config.author ?? "",
    Config: settings,
    Architecture: config.architecture,
    ...(config.variant && { Variant: config.variant }),
    Os: config.os,
    Size: size,
    ...(!call.atLeast("1.44") && { VirtualSize: size }),
    GraphDriver: { Data: null, Name: "overlayfs" },
    RootFS: { Type: "layers", Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: "0001-01-01T00:00:00Z" },
  };
}

function showImageConfig(config: NonNullable<NamedImage["image"]["config"]["config"]>): object {
  return {
    Hostname: "",
    Domainname: "",
    User: "",
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    Env: null,
    Cmd: null,
    Image: "",
    Volumes: null,
    WorkingDir: "",
    Entrypoint: null,
    OnBuild: null,
    Labels: null,
    ...config,
  };
}

/** An image's steps as `GET /images/{name}/history`, newest first. */
export async function imageHistory(engine: Engine, nameOrId: string): Promise<object[]> {
  const named = await findNamed(engine, nameOrId);
  const { config, id, chainIds } = named.image;
  const { tags } = repoNames(named);
  const sizes = await Promise.all(
    chainIds.map((key) => imageSize(engine, { ...named.image, chainIds: [key], contentBytes: 0 })),
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
