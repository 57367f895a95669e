/**
 * Load a file of `entries/` from another one, for what few containers need. (The name is put together at run time, so that the bundler
 * leaves it alone; see `packages/tooling/src/build.ts`.)
 */
function load(name: string): unknown {
  return require(`./${name}.js`);
}

/** Metrics; the messages are large. */
export const stats = () => load("stats") as typeof import("./entries/stats.ts");

/** Where a lagging client's output is kept. */
export const spool = () => load("spool") as typeof import("./entries/spool.ts");

/** What containerd 2.3 and later send on stdin. */
export const bootstrapMessages = () =>
  load("bootstrap-messages") as typeof import("./entries/bootstrap-messages.ts");
