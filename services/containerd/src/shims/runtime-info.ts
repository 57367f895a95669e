import { RuntimeInfo, type RuntimeRequest } from "@longshore/api/containerd/types/introspection";
import { Any } from "@longshore/api/google/protobuf/any";
import { EngineError } from "@longshore/errors";

/** Asks a runtime what it is and can do. */
export type RuntimeInfoSource = (request: RuntimeRequest, signal: AbortSignal) => Promise<RuntimeInfo>;

/**
 * Run `<shim> -info`.
 * @param resolve runtime name → shim binary
 */
export function runtimeInfoSource(resolve: (runtime: string) => string): RuntimeInfoSource {
  return async ({ runtimePath, options }, signal) => {
    const binary = resolve(runtimePath);
    const child = Bun.spawn([binary, "-info"], {
      stdin: options ? Any.encode(options).finish() : "ignore",
      stdout: "pipe",
      stderr: "pipe",
      signal,
    });
    const [stdout, stderr, exitCode] = await Promise.all([
      new Response(child.stdout).bytes(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    if (exitCode !== 0) {
      const said = JSON.stringify(stderr.slice(0, 1000));
      throw new EngineError(
        "unknown",
        `failed to run [${binary} -info]: exit status ${exitCode} (stderr: ${said})`,
      );
    }
    return RuntimeInfo.decode(stdout);
  };
}
