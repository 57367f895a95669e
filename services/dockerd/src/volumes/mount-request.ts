import { z } from "zod";

const text = z.string().nullish();
const flag = z.boolean().nullish();
const texts = z.record(z.string(), z.string()).nullish();

/** One of a container's `HostConfig.Mounts`, kept as it was sent. */
export const mountRequestSchema = z.object({
  Type: text,
  Source: text,
  Target: text,
  ReadOnly: flag,
  /** How a machine with another kernel shares files with the engine's; nothing on Linux. */
  Consistency: text,
  BindOptions: z
    .object({
      Propagation: text,
      NonRecursive: flag,
      CreateMountpoint: flag,
      ReadOnlyNonRecursive: flag,
      ReadOnlyForceRecursive: flag,
    })
    .nullish(),
  VolumeOptions: z
    .object({
      NoCopy: flag,
      Labels: texts,
      DriverConfig: z.object({ Name: text, Options: texts }).nullish(),
      Subpath: text,
    })
    .nullish(),
  ImageOptions: z.object({ Subpath: text }).nullish(),
  TmpfsOptions: z
    .object({
      SizeBytes: z.number().int().nullish(),
      Mode: z.number().int().nullish(),
      Options: z.array(z.array(z.string())).nullish(),
    })
    .nullish(),
  ClusterOptions: z.unknown().optional(),
});
export type MountRequest = z.output<typeof mountRequestSchema>;

/** The body of `POST /volumes/create`. */
export const volumeRequestSchema = z.object({
  Name: text,
  Driver: text,
  DriverOpts: texts,
  Labels: texts,
  ClusterVolumeSpec: z.unknown().optional(),
});
export type VolumeRequest = z.output<typeof volumeRequestSchema>;
