/**
 * Load a file of `entries/` from another one, for what few containers need. (The name is put together at run time, so that the bundler
 * leaves it alone; see `packages/tooling/src/build.ts`.) It has copies of its own of whatever modules it imports, so what there must be
 * only one of, such as the reaper, is handed to it.
 */
function load(name: string): unknown {
  return require(`./${name}.js`);
}

/** Metrics; the messages are large. */
export const stats = () => load("stats") as typeof import("./entries/stats.ts");

/** Where a lagging client's output is kept. */
export const spool = () => load("spool") as typeof import("./entries/spool.ts");

/** Containers of user namespaces of their own. */
export const mappedLayers = () => load("mapped-layers") as typeof import("./entries/mapped-layers.ts");

/** What containerd 2.3 and later send on stdin. */
export const bootstrapMessages = () =>
  load("bootstrap-messages") as typeof import("./entries/bootstrap-messages.ts");

/** Where events wait while NATS is away. */
export const diskQueue = () => load("disk-queue") as typeof import("./entries/disk-queue.ts");

/** Logging programs. */
export const binaryLogger = () => load("binary-logger") as typeof import("./entries/binary-logger.ts");

/** Compressed logs. */
export const logCompressor = () => load("log-compressor") as typeof import("./entries/log-compressor.ts");

/** The runtime option `shim_cgroup`. */
export const shimCgroup = () => load("shim-cgroup") as typeof import("./entries/shim-cgroup.ts");

/** What a shim that has nothing to do for long does. */
export const sleeping = () => load("sleep") as typeof import("./entries/sleep.ts");

/** `start` that starts another process as the long-lived one. Loading it does it. */
export const startOnly = () => load("start");
