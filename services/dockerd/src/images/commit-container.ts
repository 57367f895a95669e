import crypto from "node:crypto";
import { VERSION } from "@longshore/cli";
import { EngineError } from "@longshore/errors";
import { canonicalString, familiarString, type Reference } from "@longshore/reference";
import { SNAPSHOTTER } from "../containerd/client.ts";
import { cleanUp, withLease } from "../containerd/leases.ts";
import type { Container } from "../containers/container.ts";
import type { ContainerConfig } from "../containers/container-config.ts";
import { emitContainerEvent } from "../containers/container-events.ts";
import { requireStaying } from "../containers/container-status.ts";
import type { Engine } from "../engine.ts";
import { type Healthcheck, mergeHealthcheck } from "../health/healthcheck.ts";
import { mergeEnv } from "../spec/environment.ts";
import { BlobWriter } from "./blob-writer.ts";
import { composeImage, LAYER_TYPES } from "./compose-image.ts";
import { keepNameless, moveName } from "./give-name.ts";
import { applyChanges, type RunConfig } from "./image-changes.ts";
import { emitImageEvent } from "./image-events.ts";
import { initKey } from "./init-layer.ts";

export interface CommitOptions {
  /** With tag; without one the image has no name. */
  reference: Reference | undefined;
  author: string;
  comment: string;
  /** Dockerfile instructions. */
  changes: readonly string[];
  /** Settings to begin with, completed from the container's; the latter's when left out. */
  config: ContainerConfig | undefined;
  /** Let nothing in the container change its files meanwhile. */
  pause: boolean;
}

/**
 * Make an image of a container: its image's layers, and one of what it has changed.
 *
 * @returns the image's id
 * @throws EngineError `not_found` when the container's image is gone, `invalid_argument` for a bad change
 */
export async function commitContainer(
  engine: Engine,
  container: Container,
  { reference, author, comment, changes, config, pause }: CommitOptions,
): Promise<string> {
  const { containerd } = engine;
  const { record } = container;
  requireStaying("commit", record);
  const base = await engine.images.read(record.manifestDigest);
  const own = imageSettings(record.config);
  const settings = completed(applyChanges(config ? imageSettings(config) : own, changes), own);
  return withLease(containerd, async (lease) => {
    using writer = new BlobWriter(containerd, lease);
    const layer = await (pause ? whilePaused(engine, container, pack) : pack());
    async function pack() {
      const key = `commit-${crypto.randomUUID()}`;
      const metadata = { "containerd-lease": lease };
      try {
        const [lower, upper] = await Promise.all([
          containerd.snapshots.view(
            { snapshotter: SNAPSHOTTER, key, parent: initKey(base), labels: {} },
            { metadata },
          ),
          containerd.snapshots.mounts({ snapshotter: SNAPSHOTTER, key: container.id }),
        ]);
        const { diff } = await containerd.diff.diff(
          {
            left: lower.mounts,
            right: upper.mounts,
            mediaType: LAYER_TYPES.gzip,
            ref: key,
            labels: {},
            sourceDateEpoch: undefined,
          },
          { metadata },
        );
        if (!diff) throw new EngineError("internal", "containerd made no layer");
        return diff;
      } finally {
        await cleanUp(() => containerd.snapshots.remove({ snapshotter: SNAPSHOTTER, key }));
      }
    }
    const { info } = await containerd.content.info({ digest: layer.digest });
    const diffId = info?.labels["containerd.io/uncompressed"];
    if (diffId === undefined) throw new EngineError("internal", `layer ${layer.digest} has no diff id`);
    const created = new Date().toISOString();
    const image = {
      ...base.config,
      created,
      author,
      comment,
      container: container.id,
      docker_version: VERSION,
      config: settings,
      rootfs: { type: "layers", diff_ids: [...base.config.rootfs.diff_ids, diffId] },
      history: [
        ...(base.config.history ?? []),
        { created, created_by: (record.config.Cmd ?? []).join(" "), author, comment },
      ],
    };
    const target = await composeImage(writer, JSON.stringify(image), [...base.layers, layer]);
    const made = await engine.images.read(target.digest);
    await engine.unpacker.unpack(made, { lease });
    await engine.unpacker.protect(made);
    emitImageEvent(engine, made, "create");
    const shown = reference ? familiarString(reference) : "";
    if (reference) {
      await moveName(engine.images, canonicalString(reference), target, made);
      emitImageEvent(engine, made, "tag", { name: shown });
    } else await keepNameless(engine.images, made);
    emitContainerEvent(engine, container, "commit", { comment, imageID: made.id, imageRef: shown });
    return made.id;
  });
}

/** Of a container's settings, those that an image can have. */
function imageSettings(config: ContainerConfig): RunConfig {
  const set = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, {}]));
  return {
    Hostname: config.Hostname,
    Domainname: config.Domainname,
    User: config.User,
    ExposedPorts: set(config.ExposedPorts),
    Env: config.Env,
    Cmd: config.Cmd,
    Entrypoint: config.Entrypoint,
    Volumes: set(config.Volumes),
    WorkingDir: config.WorkingDir,
    Labels: config.Labels,
    OnBuild: config.OnBuild,
    ...(config.StopSignal !== "" && { StopSignal: config.StopSignal }),
    ...(config.Healthcheck && { Healthcheck: config.Healthcheck }),
    ...(config.Shell.length > 0 && { Shell: config.Shell }),
  };
}

/** Settings with what they leave open as the container has it: as Docker completes a container's with its image's. */
export function completed(given: RunConfig, own: RunConfig): RunConfig {
  const hasEntrypoint = (given.Entrypoint ?? []).length > 0;
  const health = mergeHealthcheck((given.Healthcheck ?? null) as Healthcheck | null, own.Healthcheck);
  const StopSignal = given.StopSignal || own.StopSignal;
  return {
    ...given,
    User: given.User || (own.User ?? ""),
    ExposedPorts: { ...own.ExposedPorts, ...given.ExposedPorts },
    Env: mergeEnv(own.Env ?? [], given.Env ?? []),
    Labels: { ...own.Labels, ...given.Labels },
    Entrypoint: given.Entrypoint ?? own.Entrypoint ?? null,
    Cmd: hasEntrypoint || (given.Cmd ?? []).length > 0 ? (given.Cmd ?? null) : (own.Cmd ?? null),
    WorkingDir: given.WorkingDir || (own.WorkingDir ?? ""),
    Volumes: { ...own.Volumes, ...given.Volumes },
    ...(StopSignal && { StopSignal }),
    // Zero is what an image doesn't say.
    ...(health && {
      Healthcheck: Object.fromEntries(Object.entries(health).filter(([, value]) => value !== 0)),
    }),
  };
}

/** Do some work while the container's processes stand still; one that doesn't run needs no pause. */
function whilePaused<T>(engine: Engine, container: Container, work: () => Promise<T>): Promise<T> {
  return container.lock.run(async () => {
    if (container.record.state.status !== "running") return work();
    await engine.containerd.tasks.pause({ containerId: container.id });
    try {
      return await work();
    } finally {
      await engine.containerd.tasks.resume({ containerId: container.id });
    }
  });
}
