import { z } from "zod";
import { mountRequestSchema } from "../volumes/mount-request.ts";

/*
 * What a client sends to create a container, in Docker's spelling. Go clients send `null` for what they leave
 * out; here every field is present after parsing, with Docker's zero value.
 */
const string = z
  .string()
  .nullish()
  .transform((value) => value ?? "");
const integer = z
  .number()
  .int()
  .nullish()
  .transform((value) => value ?? 0);
const boolean = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false);
const strings = z
  .array(z.string())
  .nullish()
  .transform((value) => value ?? []);
const stringMap = z
  .record(z.string(), string)
  .nullish()
  .transform((value) => value ?? {});
const keySet = z
  .record(z.string(), z.unknown())
  .nullish()
  .transform((value) => Object.keys(value ?? {}));
/** A list, or one string that stands for a list of one; null means "as the image has it". */
const stringSlice = z
  .union([z.array(z.string()), z.string().transform((value) => [value])])
  .nullish()
  .transform((value) => value ?? null);

const ulimit = z.object({ Name: z.string(), Soft: integer, Hard: integer });
const device = z.object({ PathOnHost: string, PathInContainer: string, CgroupPermissions: string });
const deviceRequest = z.object({
  Driver: z.string().nullish(),
  Count: z.number().int().nullish(),
  DeviceIDs: z.array(z.string()).nullish(),
  Capabilities: z.array(z.array(z.string())).nullish(),
  Options: z.record(z.string(), z.string()).nullish(),
});
const kernelMemory = z
  .number()
  .int()
  .nullish()
  .transform((value) => value || undefined);
const throttle = z.object({ Path: string, Rate: integer });
const weight = z.object({ Path: string, Weight: integer });

function listOf<T extends z.ZodType>(schema: T) {
  return z
    .array(schema)
    .nullish()
    .transform((value) => value ?? []);
}

export const resourcesSchema = z.object({
  CpuShares: integer,
  Memory: integer,
  NanoCpus: integer,
  CgroupParent: string,
  BlkioWeight: integer,
  BlkioWeightDevice: listOf(weight),
  BlkioDeviceReadBps: listOf(throttle),
  BlkioDeviceWriteBps: listOf(throttle),
  BlkioDeviceReadIOps: listOf(throttle),
  BlkioDeviceWriteIOps: listOf(throttle),
  CpuPeriod: integer,
  CpuQuota: integer,
  CpuRealtimePeriod: integer,
  CpuRealtimeRuntime: integer,
  CpusetCpus: string,
  CpusetMems: string,
  Devices: listOf(device),
  DeviceCgroupRules: strings,
  DeviceRequests: listOf(deviceRequest),
  /** Limits of old kernels: never carried out, and not kept. */
  KernelMemory: kernelMemory,
  KernelMemoryTCP: kernelMemory,
  MemoryReservation: integer,
  MemorySwap: integer,
  MemorySwappiness: z
    .number()
    .int()
    .nullish()
    .transform((value) => value ?? -1),
  OomKillDisable: boolean,
  Init: z
    .boolean()
    .nullish()
    .transform((value) => value ?? null),
  PidsLimit: z
    .number()
    .int()
    .nullish()
    .transform((value) => value ?? null),
  Ulimits: listOf(ulimit),
  CpuCount: integer,
  CpuPercent: integer,
  IOMaximumIOps: integer,
  IOMaximumBandwidth: integer,
});
export type Resources = z.output<typeof resourcesSchema>;

/** Limits that an update takes away by an empty list; null leaves them. */
export const DEVICE_LIMITS = [
  "BlkioWeightDevice",
  "BlkioDeviceReadBps",
  "BlkioDeviceWriteBps",
  "BlkioDeviceReadIOps",
  "BlkioDeviceWriteIOps",
] as const;

/** What an update changes: of its lists, null is not the same as empty. */
const updateFields = resourcesSchema.extend({
  BlkioWeightDevice: z.array(weight).nullish(),
  BlkioDeviceReadBps: z.array(throttle).nullish(),
  BlkioDeviceWriteBps: z.array(throttle).nullish(),
  BlkioDeviceReadIOps: z.array(throttle).nullish(),
  BlkioDeviceWriteIOps: z.array(throttle).nullish(),
});

export const restartPolicySchema = z
  .object({ Name: string, MaximumRetryCount: integer })
  .nullish()
  .transform((value) => value ?? { Name: "", MaximumRetryCount: 0 });

/** Body of an update: limits, those of devices that are to be taken away, and the restart policy. */
export const updateSchema = updateFields
  .extend({ RestartPolicy: restartPolicySchema })
  .transform(({ RestartPolicy: restartPolicy, ...fields }) => {
    const lists = {
      BlkioWeightDevice: fields.BlkioWeightDevice ?? [],
      BlkioDeviceReadBps: fields.BlkioDeviceReadBps ?? [],
      BlkioDeviceWriteBps: fields.BlkioDeviceWriteBps ?? [],
      BlkioDeviceReadIOps: fields.BlkioDeviceReadIOps ?? [],
      BlkioDeviceWriteIOps: fields.BlkioDeviceWriteIOps ?? [],
    };
    const cleared = DEVICE_LIMITS.filter((field) => fields[field]?.length === 0);
    return { resources: { ...fields, ...lists } satisfies Resources, cleared, restartPolicy };
  });

export const hostConfigSchema = resourcesSchema.extend({
  Binds: strings,
  ContainerIDFile: string,
  LogConfig: z
    .object({ Type: string, Config: stringMap })
    .nullish()
    .transform((value) => value ?? { Type: "", Config: {} }),
  NetworkMode: string,
  PortBindings: z
    .record(z.string(), z.array(z.object({ HostIp: string, HostPort: string })).nullish())
    .nullish()
    .transform((value) => value ?? {}),
  RestartPolicy: restartPolicySchema,
  AutoRemove: boolean,
  VolumeDriver: string,
  VolumesFrom: strings,
  Mounts: listOf(mountRequestSchema),
  ConsoleSize: z
    .tuple([z.number().int().min(0), z.number().int().min(0)])
    .nullish()
    .transform((value): [number, number] => value ?? [0, 0]),
  Annotations: stringMap,
  CapAdd: strings,
  CapDrop: strings,
  CgroupnsMode: string,
  Dns: strings,
  DnsOptions: strings,
  DnsSearch: strings,
  ExtraHosts: strings,
  GroupAdd: strings,
  IpcMode: string,
  Cgroup: string,
  Links: strings,
  OomScoreAdj: integer,
  PidMode: string,
  Privileged: boolean,
  PublishAllPorts: boolean,
  ReadonlyRootfs: boolean,
  SecurityOpt: strings,
  StorageOpt: stringMap,
  Tmpfs: stringMap,
  UTSMode: string,
  UsernsMode: string,
  ShmSize: integer,
  Sysctls: stringMap,
  Runtime: string,
  Isolation: string,
  MaskedPaths: z
    .array(z.string())
    .nullish()
    .transform((value) => value ?? null),
  ReadonlyPaths: z
    .array(z.string())
    .nullish()
    .transform((value) => value ?? null),
});
export type HostConfig = z.output<typeof hostConfigSchema>;

const healthcheck = z
  .object({
    Test: strings,
    Interval: integer,
    Timeout: integer,
    StartPeriod: integer,
    StartInterval: integer,
    Retries: integer,
  })
  .nullish()
  .transform((value) => value ?? null);

export const containerConfigSchema = z.object({
  Hostname: string,
  Domainname: string,
  User: string,
  AttachStdin: boolean,
  AttachStdout: boolean,
  AttachStderr: boolean,
  ExposedPorts: keySet,
  Tty: boolean,
  OpenStdin: boolean,
  StdinOnce: boolean,
  Env: strings,
  Cmd: stringSlice,
  Healthcheck: healthcheck,
  ArgsEscaped: boolean,
  Image: string,
  Volumes: keySet,
  WorkingDir: string,
  Entrypoint: stringSlice,
  NetworkDisabled: boolean,
  MacAddress: string,
  OnBuild: strings,
  Labels: stringMap,
  StopSignal: string,
  StopTimeout: z
    .number()
    .int()
    .nullish()
    .transform((value) => value ?? null),
  Shell: strings,
});
export type ContainerConfig = z.output<typeof containerConfigSchema>;

export const endpointSchema = z.object({
  IPAMConfig: z
    .object({ IPv4Address: string, IPv6Address: string, LinkLocalIPs: strings })
    .nullish()
    .transform((value) => value ?? { IPv4Address: "", IPv6Address: "", LinkLocalIPs: [] }),
  Links: strings,
  Aliases: strings,
  MacAddress: string,
  DriverOpts: stringMap,
  GwPriority: integer,
});
export type EndpointRequest = z.output<typeof endpointSchema>;

export const createRequestSchema = containerConfigSchema.extend({
  HostConfig: hostConfigSchema
    // All that a process may have, a field of version 1.40 of the API alone.
    .extend({ Capabilities: z.array(z.string()).nullish() })
    .nullish()
    .transform(
      (value): HostConfig & { Capabilities?: string[] | null | undefined } =>
        value ?? hostConfigSchema.parse({}),
    ),
  NetworkingConfig: z
    .object({
      EndpointsConfig: z
        .record(z.string(), endpointSchema.nullish())
        .nullish()
        .transform((value) => value ?? {}),
    })
    .nullish()
    .transform((value) => value ?? { EndpointsConfig: {} }),
});
export type CreateRequest = z.output<typeof createRequestSchema>;
