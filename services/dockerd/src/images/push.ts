import type { Image as ContainerdImage } from "@longshore/api/containerd/services/images/v1/images";
import type { Descriptor } from "@longshore/api/containerd/types/descriptor";
import {
  type Credentials,
  type PushProgress,
  PushProgress_State as State,
} from "@longshore/api/longshore/registry/v1/registry";
import { EngineError } from "@longshore/errors";
import type { Platform } from "@longshore/oci";
import {
  canonicalString,
  familiarName,
  familiarString,
  parseReference,
  type Reference,
  tryParseReference,
} from "@longshore/reference";
import type { Engine } from "../engine.ts";
import { wholeTarget } from "./archive/save-images.ts";
import type { Image } from "./image.ts";
import { emitImageEvent } from "./image-events.ts";
import { chosenOf, DANGLING_PREFIX, runsHere } from "./image-store.ts";
import { descriptorJson } from "./manifests.ts";
import { addOrigin } from "./origins.ts";
import { platformImage } from "./platform-image.ts";
import { registryFailure } from "./pull.ts";
import { type ProgressLine, progressBar, shortDigest } from "./pull-progress.ts";

export interface PushOptions {
  /** With a tag: that one; without: all that the repository has here. */
  reference: Reference;
  /** Of what a name stands for, only the image of this one. */
  platform: Platform | undefined;
  credentials: Credentials | undefined;
  signal: AbortSignal;
  progress: (line: ProgressLine) => void;
}

/**
 * Push an image, or all tags of a repository.
 * @throws EngineError `not_found` for a name that no image has, or as the registry has it
 */
export async function pushImages(engine: Engine, options: PushOptions): Promise<void> {
  const { reference, progress } = options;
  const shown = `${reference.domain}/${reference.path}`;
  progress({ status: `The push refers to repository [${shown}]` });
  const tags = reference.tag === undefined ? await tagsOf(engine, reference) : [reference];
  if (tags.length === 0) throw notHere(familiarName(reference));
  for (const tag of tags) await pushOne(engine, tag, options);
}

async function tagsOf(engine: Engine, { domain, path }: Reference): Promise<Reference[]> {
  const names = (await engine.images.list()).flatMap((named) => named.names);
  return names
    .filter((name) => !name.startsWith(DANGLING_PREFIX))
    .flatMap((name) => tryParseReference(name) ?? [])
    .filter((one) => one.domain === domain && one.path === path && one.digest === undefined);
}

async function pushOne(
  engine: Engine,
  reference: Reference,
  { platform, credentials, signal, progress }: PushOptions,
): Promise<void> {
  const name = canonicalString(reference);
  const held = await engine.images.get(name);
  if (!held?.target) throw notHere(familiarName(reference));
  const { image, target } = await pushTarget(engine, held, platform);
  const lines = new PushLines(image);
  const events = engine.registry.client.push(
    {
      reference: name,
      credentials,
      namespace: engine.containerd.namespace,
      target,
      platform: undefined,
      nondistributable: false,
      hosts: engine.registry.hosts(),
    },
    { signal },
  );
  try {
    for await (const { event } of events) {
      if (event?.$case === "progress") for (const line of lines.of(event.value)) progress(line);
      if (event?.$case !== "done" || !event.value.target) continue;
      const { digest, size } = event.value.target;
      await addOrigin(engine, event.value.target, reference);
      const tag = reference.tag ?? "latest";
      if (!platform && digest !== held.target.digest) {
        progress({ progressDetail: {}, aux: pushedInstead(held.target, event.value.target) });
      }
      progress({ status: `${tag}: digest: ${digest} size: ${size}` });
      progress({ progressDetail: {}, aux: { Tag: tag, Digest: digest, Size: Number(size) } });
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw registryFailure(error);
  }
  const [actor, shown] = [familiarString(reference), familiarName(reference)];
  emitImageEvent(engine, image, "push", { actor, name: shown });
}

/** What goes to the registry for a name, and the image of which progress is told. */
async function pushTarget(
  engine: Engine,
  held: ContainerdImage,
  platform: Platform | undefined,
): Promise<{ image: Image; target: Descriptor }> {
  const { name, target } = held;
  if (!target) throw notHere(name);
  if (platform) {
    const shown = familiarString(parseReference(name));
    const { image } = await platformImage(engine, { target }, [platform], shown);
    return { image, target: await engine.images.manifestOf(image) };
  }
  const image = await engine.images.read(chosenOf(held));
  // registry-client itself would send the host's image of an index that isn't whole.
  return { image, target: runsHere(image) ? target : await wholeTarget(engine, image, name) };
}

/** For programs: of an index of which not all is here one image has gone. */
function pushedInstead(index: Descriptor, manifest: Descriptor): object {
  return {
    manifestPushedInsteadOfIndex: true,
    originalIndex: descriptorJson(index),
    selectedManifest: descriptorJson(manifest),
  };
}

function notHere(name: string): EngineError {
  return new EngineError("not_found", `An image does not exist locally with the tag: ${name}`);
}

/** Docker's words for the steps of a push, each told once. */
const WORDS: Record<Exclude<State, State.UPLOADING | State.MOUNTED>, string> = {
  [State.PREPARING]: "Preparing",
  [State.WAITING]: "Waiting",
  [State.COMPLETE]: "Pushed",
  [State.EXISTS]: "Layer already exists",
  [State.SKIPPED]: "Skipped foreign layer",
};

/** Turns the states of blobs into Docker's lines, which name a layer by what it unpacks to. */
export class PushLines {
  private readonly layers: Map<string, string>;
  private readonly told = new Map<string, string>();

  constructor({ layers, config }: Pick<Image, "layers" | "config">) {
    this.layers = new Map(
      layers.map(({ digest }, index) => [digest, shortDigest(config.rootfs.diff_ids[index] ?? digest)]),
    );
  }

  of({ digest, state, offset, total, mountedFrom }: PushProgress): ProgressLine[] {
    const id = this.layers.get(digest);
    if (id === undefined) return []; // the config
    if (state === State.UPLOADING) {
      const progressDetail = { current: Number(offset), total: Number(total) };
      return [{ status: "Pushing", progressDetail, progress: progressBar(progressDetail), id }];
    }
    const status = state === State.MOUNTED ? `Mounted from ${mountedFrom}` : WORDS[state];
    if (this.told.get(id) === status) return [];
    this.told.set(id, status);
    return [{ status, progressDetail: {}, id }];
  }
}
