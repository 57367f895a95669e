import type { Logger } from "@longshore/log";
import type { RpcServer } from "@longshore/rpc";
import type { Store } from "@longshore/store";

/** The payload of an event as it travels: a `google.protobuf.Any`, its type URL without a host, `containerd.events.TaskExit`. */
export interface EventMessage {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** What the daemon gives to each plugin when it starts it. */
export interface PluginContext {
  /** Directory of what must survive a reboot; exists. A plugin uses `<root>/<type>.<id>` below it. */
  readonly root: string;
  /** Directory of what dies with the machine, on tmpfs; exists. */
  readonly state: string;
  readonly store: Store;
  /**
   * Tell all subscribers, and NATS. Never fails and never waits.
   * @param topic as containerd has it, `/images/create`
   */
  publish(namespace: string, topic: string, event: EventMessage): void;
  /** Hear of every event, e.g. that a container was deleted and what it held may go. The listener may not throw. */
  listen(listener: (event: { readonly namespace: string; readonly topic: string }) => unknown): Disposable;
  readonly log: Logger;
  /** Aborted when the daemon is to end. */
  readonly signal: AbortSignal;
  readonly server: RpcServer;
}

/** A part of the daemon that `ctr plugins ls` lists and `disabled_plugins` switches off. */
export interface ContainerdPlugin {
  /** `io.containerd.grpc.v1` and the like. */
  readonly type: string;
  readonly id: string;
  /** Types (`io.containerd.metadata.v1`) or whole ids (`io.containerd.metadata.v1.bolt`) that must have started before. */
  readonly requires: readonly string[];
  /** Whether it is bound to this machine's platform, which is then listed beside it. */
  readonly platformBound?: boolean;
  /** What `ctr plugins ls -d` shows as capabilities. */
  readonly capabilities?: readonly string[];
  /** What `ctr plugins ls -d` shows as exports, e.g. its directory as `root`. */
  exports?(context: PluginContext): Record<string, string>;
  /** Start it; what comes back is disposed of when the daemon ends, in reverse order. */
  start(context: PluginContext): Promise<AsyncDisposable | undefined>;
}

/** Thrown by a `start` that found that this machine can't have the plugin: no fault of anyone's, `ctr plugins ls` says "skip". */
export class SkipPlugin extends Error {
  override readonly name = "SkipPlugin";

  constructor(reason: string) {
    super(`${reason}: skip plugin`);
  }
}

interface MessageEncoder<T> {
  encode(message: T): { finish(): Uint8Array };
}

/**
 * An event for `publish`.
 * @param name of a message of the proto package `containerd.events`, `ContainerCreate`; of another one, with it
 */
export function eventMessage<T>(name: string, type: MessageEncoder<T>, message: T): EventMessage {
  return {
    typeUrl: name.includes(".") ? name : `containerd.events.${name}`,
    value: type.encode(message).finish(),
  };
}
