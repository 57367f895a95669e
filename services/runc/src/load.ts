/**
 * Load a file of `entries/` from another one, for what few containers need. (The name is put together at run time, so that the bundler
 * leaves it alone; see `packages/tooling/src/build.ts`.)
 */
function load(name: string): unknown {
  return require(`./${name}.js`);
}

/** What is printed for `--help` and wrong command lines. */
export const help = () => load("help") as typeof import("./entries/help.ts");

/** Cgroups through systemd. */
export const systemd = () => load("systemd") as typeof import("./entries/systemd.ts");
