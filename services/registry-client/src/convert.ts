import type { Descriptor as WireDescriptor } from "@longshore/api/containerd/types/descriptor";
import type { Platform as WirePlatform } from "@longshore/api/containerd/types/platform";
import {
  BlobProgress_State,
  type Credentials as WireCredentials,
  type PullEvent as WireEvent,
} from "@longshore/api/longshore/registry/v1/registry";
import type { BlobState } from "./blob-fetcher.ts";
import type { Descriptor } from "./manifest.ts";
import { hostPlatform, normalizePlatform, type Platform } from "./platform.ts";
import type { PullEvent } from "./pull.ts";
import { ANONYMOUS, type Credentials } from "./registry/authorizer.ts";

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
      return {
        event: {
          $case: "resolved",
          value: {
            target: toWireDescriptor(target),
            manifest: toWireDescriptor(manifest),
            config: toWireDescriptor(config),
            layers: layers.map(toWireDescriptor),
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
