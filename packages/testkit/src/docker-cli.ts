import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { type CommandOptions, type CommandResult, output, run } from "./command.ts";

/** A docker client, ours or a real one. */
export interface DockerCli {
  /** For test names: `ours`, `docker 20.10.24`. */
  readonly name: string;
  readonly path: string;
  readonly ours: boolean;
}

/** A client that talks to one engine. */
export interface Docker {
  readonly cli: DockerCli;
  /** Run `docker ARGS` to its end, whatever its status. */
  run(args: string[], options?: CommandOptions): Promise<CommandResult>;
  /** Run `docker ARGS`, which must succeed; its stdout without the last line end. */
  (...args: string[]): Promise<string>;
}

/** Real docker clients on this machine: one per version, in the order of PATH. */
export function realDockerClis(): DockerCli[] {
  const dirs = [...(process.env.PATH ?? "").split(":"), "/usr/local/bin", "/usr/bin"];
  const found = new Map<string, DockerCli>();
  for (const file of dirs.map((dir) => path.join(dir || ".", "docker"))) {
    if (!fs.existsSync(file)) continue;
    const { stdout } = spawnSync(file, ["--version"], { encoding: "utf8" });
    const version = /^Docker version ([^,+\s]+)/.exec(stdout ?? "")?.[1];
    if (version === undefined || stdout.includes("longshore")) continue;
    const name = `docker ${version}`;
    if (!found.has(name)) found.set(name, { name, path: file, ours: false });
  }
  return [...found.values()];
}

/** Every docker client that the tests use: ours, then the real ones. */
export function dockerClis(binDir: string): DockerCli[] {
  return [{ name: "ours", path: path.join(binDir, "docker"), ours: true }, ...realDockerClis()];
}

/** A client for one engine; `config` is its own, empty configuration directory. */
export function dockerFor(cli: DockerCli, dockerHost: string, config: string): Docker {
  const env = { DOCKER_HOST: dockerHost, DOCKER_CONFIG: config, DOCKER_CLI_HINTS: "false" };
  const withEnv = (options: CommandOptions = {}) => ({ ...options, env: { ...env, ...options.env } });
  return Object.assign((...args: string[]) => output([cli.path, ...args], withEnv()), {
    cli,
    run: (args: string[], options?: CommandOptions) => run([cli.path, ...args], withEnv(options)),
  });
}
