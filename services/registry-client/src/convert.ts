import type { Descriptor as WireDescriptor } from "@longshore/api/containerd/types/descriptor";
import type { Platform as WirePlatform } from "@longshore/api/containerd/types/platform";
import {
  BlobProgress_State,
  PushProgress_State,
  type Credentials as WireCredentials,
  type PullEvent as WireEvent,
  type PushEvent as WirePushEvent,
  type RateLimit as WireRateLimit,
} from "@longshore/api/longshore/registry/v1/registry";
import { EngineError } from "@longshore/errors";
import { hostPlatform, normalizePlatform, type Platform } from "@longshore/oci";
import { checkDigest } from "@longshore/reference";
import type { BlobState } from "./blob-fetcher.ts";
import type { Descriptor } from "./manifest.ts";
import type { PullEvent } from "./pull.ts";
import type { PushEvent, PushState } from "./push.ts";
import { ANONYMOUS, type Credentials } from "./registry/credentials.ts";
import type { RateLimit } from "./registry/rate-limit.ts";

const STATES: Record<BlobState, BlobProgress_State> = {
  pending: BlobProgress_State.PENDING,
  downloading: BlobProgress_State.DOWNLOADING,
  verifying: BlobProgress_State.VERIFYING,
  complete: BlobProgress_State.COMPLETE,
  exists: BlobProgress_State.EXISTS,
};

export function toWireEvent(event: PullEvent): WireEvent {
  switch (event.kind) {
    case "resolved": {
      const { target, manifest, config, layers } = event.image;
      const { rateLimit } = event;
      return {
        event: {
          $case: "resolved",
          value: {
            target: toWireDescriptor(target),
            manifest: toWireDescriptor(manifest),
            config: toWireDescriptor(config),
            layers: layers.map(toWireDescriptor),
            rateLimit: toWireRateLimit(rateLimit),
          },
        },
      };
    }
    case "progress": {
      const { digest, state, offset, total } = event.progress;
      const value = { digest, state: STATES[state], offset: BigInt(offset), total: BigInt(total) };
      return { event: { $case: "progress", value } };
    }
    case "done":
      return { event: { $case: "done", value: { target: toWireDescriptor(event.target) } } };
  }
}

const PUSH_STATES: Record<PushState, PushProgress_State> = {
  preparing: PushProgress_State.PREPARING,
  waiting: PushProgress_State.WAITING,
  uploading: PushProgress_State.UPLOADING,
  complete: PushProgress_State.COMPLETE,
  exists: PushProgress_State.EXISTS,
  mounted: PushProgress_State.MOUNTED,
  skipped: PushProgress_State.SKIPPED,
};

export function toWirePushEvent(event: PushEvent): WirePushEvent {
  switch (event.kind) {
    case "plan": {
      const value = { target: toWireDescriptor(event.target), blobs: event.blobs.map(toWireDescriptor) };
      return { event: { $case: "plan", value } };
    }
    case "progress": {
      const { digest, state, offset, total, mountedFrom = "" } = event.progress;
      const value = {
        digest,
        state: PUSH_STATES[state],
        offset: BigInt(offset),
        total: BigInt(total),
        mountedFrom,
      };
      return { event: { $case: "progress", value } };
    }
    case "done":
      return { event: { $case: "done", value: { target: toWireDescriptor(event.target) } } };
  }
}

export function toWireRateLimit(limit: RateLimit | undefined): WireRateLimit | undefined {
  return (
    limit && {
      limit: BigInt(limit.limit),
      remaining: BigInt(limit.remaining),
      windowSeconds: BigInt(limit.windowS),
      source: limit.source,
    }
  );
}

/** @throws EngineError `invalid_argument` for a digest or size that is none */
export function fromWireDescriptor(descriptor: WireDescriptor | undefined): Descriptor {
  const { mediaType = "", digest = "", size = 0n } = descriptor ?? {};
  if (size < 0n || size > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new EngineError("invalid_argument", `invalid size ${size} of ${digest}`);
  }
  return { mediaType, digest: checkDigest(digest), size: Number(size) };
}

export function toWireDescriptor({ mediaType, digest, size, annotations }: Descriptor): WireDescriptor {
  return { mediaType, digest, size: BigInt(size), annotations: { ...annotations } };
}

export function toWirePlatform(platform: Platform): WirePlatform {
  return { ...platform, osVersion: "", osFeatures: [] };
}

/** The host's platform where the request names none. */
export function fromWirePlatform(platform: WirePlatform | undefined): Platform {
  if (!platform?.architecture) return hostPlatform();
  return normalizePlatform({ ...platform, os: platform.os || "linux" });
}

export function fromWireCredentials(credentials: WireCredentials | undefined): Credentials {
  return credentials ?? ANONYMOUS;
}
