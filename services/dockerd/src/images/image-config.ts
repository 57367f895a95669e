import { z } from "zod";

/*
 * What is read of manifests, indexes and image configs; all else in them is left alone. They come from
 * registries: nothing about them is certain.
 */
export const descriptorSchema = z.object({
  mediaType: z.string().default(""),
  digest: z.string().regex(/^[a-z0-9]+:[a-f0-9]{32,}$/),
  size: z.number().int().nonnegative(),
  platform: z.object({ architecture: z.string(), os: z.string(), variant: z.string().optional() }).optional(),
});
export type DescriptorJson = z.output<typeof descriptorSchema>;

export const manifestSchema = z.object({
  mediaType: z.string().optional(),
  config: descriptorSchema.optional(),
  layers: z.array(descriptorSchema).optional(),
  manifests: z.array(descriptorSchema).optional(),
});

const stringList = z.array(z.string()).nullish();

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
      User: z.string().nullish(),
      ExposedPorts: z.record(z.string(), z.unknown()).nullish(),
      Env: stringList,
      Entrypoint: stringList,
      Cmd: stringList,
      Volumes: z.record(z.string(), z.unknown()).nullish(),
      WorkingDir: z.string().nullish(),
      Labels: z.record(z.string(), z.string()).nullish(),
      StopSignal: z.string().nullish(),
      Shell: stringList,
      OnBuild: stringList,
      Healthcheck: z.object({ Test: stringList }).loose().nullish(),
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
