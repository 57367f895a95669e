import fs from "node:fs";
import path from "node:path";
import { EngineError, isErrno } from "@longshore/errors";
import { z } from "zod";

/** Where a plugin listens, as `fetch` takes it. */
export interface PluginAddress {
  name: string;
  /** Without a slash at its end. */
  url: string;
  unix?: string;
  tls?: { ca?: string; cert?: string; key?: string; rejectUnauthorized: boolean };
}

/** Directories of sockets and of files that say where a plugin is, as Docker has them. */
export interface PluginDirs {
  sockets: string;
  specs: readonly string[];
}

export const DOCKER_PLUGIN_DIRS: PluginDirs = {
  sockets: "/run/docker/plugins",
  specs: ["/etc/docker/plugins", "/usr/lib/docker/plugins"],
};

const specSchema = z.object({
  Addr: z.string(),
  TLSConfig: z
    .object({
      InsecureSkipVerify: z.boolean().optional(),
      CAFile: z.string().optional(),
      CertFile: z.string().optional(),
      KeyFile: z.string().optional(),
    })
    .nullish(),
});

/**
 * Look for a plugin that isn't managed by the engine: `NAME.sock`, `NAME/NAME.sock`, then `NAME.spec` (an address) or `NAME.json`.
 *
 * @throws EngineError `not_found` in Docker's words, `invalid_argument` for a file that says no address
 * @see https://docs.docker.com/engine/extend/plugin_api/
 */
export function findPlugin(name: string, { sockets, specs }: PluginDirs = DOCKER_PLUGIN_DIRS): PluginAddress {
  if (name !== "" && !name.includes("/") && !name.startsWith(".")) {
    for (const file of [`${name}.sock`, `${name}/${name}.sock`].map((each) => path.join(sockets, each)))
      if (isSocket(file)) return { name, url: "http://plugin", unix: file };
    for (const file of specs.flatMap((dir) =>
      [`${name}.spec`, `${name}.json`].map((each) => path.join(dir, each)),
    )) {
      const text = readIfExists(file);
      if (text !== undefined) return parseSpec(name, file, text);
    }
  }
  throw new EngineError("not_found", `plugin ${JSON.stringify(name)} not found`);
}

function parseSpec(name: string, file: string, text: string): PluginAddress {
  if (file.endsWith(".spec")) return parseAddress(name, file, text.trim());
  let parsed: z.output<typeof specSchema>;
  try {
    parsed = specSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new EngineError("invalid_argument", `plugin ${name}: ${file} holds no plugin's address`, { cause });
  }
  const address = parseAddress(name, file, parsed.Addr);
  const { TLSConfig } = parsed;
  if (!TLSConfig) return address;
  const read = (of: string | undefined) => (of ? fs.readFileSync(of, "utf8") : undefined);
  const [ca, cert, key] = [TLSConfig.CAFile, TLSConfig.CertFile, TLSConfig.KeyFile].map(read);
  return {
    ...address,
    url: address.url.replace(/^http:/, "https:"),
    tls: {
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      rejectUnauthorized: !TLSConfig.InsecureSkipVerify,
    },
  };
}

function parseAddress(name: string, file: string, text: string): PluginAddress {
  const [, scheme, rest = ""] = /^(unix|tcp|https?):\/\/(.+)$/.exec(text) ?? [];
  if (scheme === "unix") return { name, url: "http://plugin", unix: rest };
  if (scheme === undefined || !URL.canParse(`http://${rest}`))
    throw new EngineError(
      "invalid_argument",
      `plugin ${name}: ${file}: invalid address ${JSON.stringify(text)}`,
    );
  return { name, url: `${scheme === "https" ? "https" : "http"}://${rest.replace(/\/+$/, "")}` };
}

function isSocket(file: string): boolean {
  return fs.statSync(file, { throwIfNoEntry: false })?.isSocket() ?? false;
}

function readIfExists(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return undefined;
    throw error;
  }
}
