import { z } from "zod";

/*
 * What is read of manifests, indexes and image configs; all else in them is left alone. They come
 * from registries: nothing about them is certain. A value of the wrong type makes the whole
 * document invalid, as in Docker. A value of the right type that makes no sense is refused when a
 * container is created.
 */

/** Entries of one index. The largest in use have a few hundred. */
const INDEX_ENTRIES_MAX = 1000;
/** Layers of one manifest. Images have fewer than 500, the limit of overlayfs. */
const MANIFEST_LAYERS_MAX = 1000;
/** Volumes of one image. Each is a directory on the host and a mount in every container. */
const VOLUMES_MAX = 1000;
/** Bytes of a path, as in Linux. */
const PATH_MAX = 4096;
/** Ports there are: 65535 of each of three protocols. */
const PORTS_MAX = 3 * 65_535;

export const descriptorSchema = z.object({
  mediaType: z.string().default(""),
  digest: z.string().regex(/^[a-z0-9]+:[a-f0-9]{32,}$/),
  size: z.number().int().nonnegative(),
  platform: z.object({ architecture: z.string(), os: z.string(), variant: z.string().optional() }).optional(),
});
export type DescriptorJson = z.output<typeof descriptorSchema>;

/**
 * The schema of a manifest or an index. A document that is both is refused: different clients could
 * take it for different images.
 *
 * @param descriptor what is read of each layer and of each entry of an index
 * @see containerd's advisory GHSA-5j5w-g665-5m35
 */
export function manifestSchemaOf<T extends z.ZodType>(descriptor: T) {
  return z
    .object({
      mediaType: z.string().optional(),
      config: descriptorSchema.optional(),
      layers: z.array(descriptor).max(MANIFEST_LAYERS_MAX).optional(),
      manifests: z.array(descriptor).max(INDEX_ENTRIES_MAX).optional(),
    })
    .refine(
      ({ config, layers, manifests }) => !manifests || (!config && !layers),
      "ambiguous manifest: it has both manifests and layers",
    );
}

export const manifestSchema = manifestSchemaOf(descriptorSchema);

const stringList = z.array(z.string()).nullish();
/** A number of 64 bits, as Go reads it. JSON's numbers beyond 2^53 are rounded. */
const int64 = z
  .number()
  .refine((value) => Number.isInteger(value) && Math.abs(value) <= 2 ** 63, "not an integer of 64 bits");
const path = z.string().max(PATH_MAX);

function keySet(max: number) {
  return z
    .record(z.string(), z.unknown())
    .refine((keys) => Object.keys(keys).length <= max, `more than ${max} keys`)
    .nullish();
}

export const imageConfigSchema = z.object({
  created: z.string().nullish(),
  author: z.string().nullish(),
  comment: z.string().nullish(),
  docker_version: z.string().nullish(),
  architecture: z.string(),
  variant: z.string().nullish(),
  os: z.string(),
  config: z
    .object({
      User: path.nullish(),
      ExposedPorts: keySet(PORTS_MAX),
      Env: stringList,
      Entrypoint: stringList,
      Cmd: stringList,
      Volumes: keySet(VOLUMES_MAX),
      WorkingDir: path.nullish(),
      Labels: z.record(z.string(), z.string()).nullish(),
      StopSignal: z.string().nullish(),
      Shell: stringList,
      OnBuild: stringList,
      Healthcheck: z
        .object({
          Test: stringList,
          Interval: int64.nullish(),
          Timeout: int64.nullish(),
          StartPeriod: int64.nullish(),
          StartInterval: int64.nullish(),
          Retries: int64.nullish(),
        })
        .loose()
        .nullish(),
    })
    .loose()
    .nullish(),
  rootfs: z.object({ type: z.string(), diff_ids: z.array(z.string()) }),
  history: z
    .array(
      z.object({
        created: z.string().nullish(),
        created_by: z.string().nullish(),
        author: z.string().nullish(),
        comment: z.string().nullish(),
        empty_layer: z.boolean().nullish(),
      }),
    )
    .nullish(),
});
export type ImageConfig = z.output<typeof imageConfigSchema>;
