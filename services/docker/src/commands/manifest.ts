import fs from "node:fs";
import path from "node:path";
import { familiarString, parseReference, withDefaultTag } from "@longshore/reference";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { escapeHtml, indentJson } from "../format/indent-json.ts";
import { print } from "../io/output.ts";

/** A line of `registry-client manifest --all`. */
interface Line {
  mediaType: string;
  digest: string;
  size: number;
  /** Base64. */
  raw: string;
  config?: PlatformJson;
}

/** In the spelling of indexes and image configs. */
interface PlatformJson {
  architecture?: string;
  os?: string;
  "os.version"?: string;
  "os.features"?: string[];
  variant?: string;
}

/** Of registry-client: there is no such manifest. */
const NOT_FOUND = 3;
const OCI = /^application\/vnd\.oci\./;

export const inspectManifest: Command = {
  name: "docker manifest inspect",
  usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
  summary: "Display an image manifest, or manifest list",
  arity: { min: 1, max: 2 },
  flags: [
    { name: "insecure", kind: "bool", help: "Allow communication with an insecure registry" },
    {
      name: "verbose",
      short: "v",
      kind: "bool",
      help: "Output additional info including layers and platform",
    },
  ],
  async run({ flags, args }) {
    if (args.length > 1)
      throw new CliError("manifest lists that are not in a registry yet are not supported");
    const reference = withDefaultTag(parseReference(args[0] ?? ""));
    const name = familiarString(reference);
    const [top, ...others] = await fetchManifests(
      name,
      flags.bool("insecure") ? reference.domain : undefined,
    );
    if (!top) throw new CliError(`no such manifest: ${name}`);
    const raw = textOf(top);
    const { manifests } = JSON.parse(raw) as { manifests?: { platform?: PlatformJson }[] };
    if (!flags.bool("verbose")) {
      print(manifests ? showIndex(top, others, manifests) : indentJson(raw, "\t"));
      return 0;
    }
    const shown = manifests
      ? `[${others.map((one, index) => verbose(`${name}@${one.digest}`, one, manifests[index]?.platform)).join(",")}]`
      : verbose(name, top, top.config);
    print(indentJson(shown, "\t"));
    return 0;
  },
};

/** The index is put together anew, of what its manifests are, as the original does. */
function showIndex(
  { mediaType }: Line,
  lines: readonly Line[],
  entries: readonly { platform?: PlatformJson }[],
): string {
  const manifests = lines.map(({ mediaType, size, digest }, index) => ({
    ...{ mediaType, size, digest },
    platform: platformOf(entries[index]?.platform),
  }));
  return escapeHtml(JSON.stringify({ schemaVersion: 2, mediaType, manifests }, null, "   "));
}

function verbose(ref: string, line: Line, platform: PlatformJson | undefined): string {
  const { mediaType, digest, size, raw } = line;
  const descriptor = { mediaType, digest, size, platform: platformOf(platform) };
  const kind = OCI.test(mediaType) ? "OCIManifest" : "SchemaV2Manifest";
  const fields = JSON.stringify({ Ref: ref, Descriptor: descriptor, Raw: raw });
  return `${escapeHtml(fields.slice(0, -1))},${JSON.stringify(kind)}:${escapeHtml(textOf(line))}}`;
}

function platformOf(platform: PlatformJson = {}): PlatformJson {
  const { architecture = "", os = "", variant } = platform;
  const [version, features] = [platform["os.version"], platform["os.features"]];
  return {
    ...{ architecture, os },
    ...(version && { "os.version": version }),
    ...(features?.length && { "os.features": features }),
    ...(variant && { variant }),
  };
}

function textOf({ raw }: Line): string {
  return Buffer.from(raw, "base64").toString();
}

/** @returns nothing for a name that the registry doesn't have */
async function fetchManifests(name: string, insecure: string | undefined): Promise<Line[]> {
  const options = insecure === undefined ? [] : ["--insecure-registry", insecure];
  const child = Bun.spawn([registryClient(), "manifest", "--all", ...options, name], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, words, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code === NOT_FOUND) return [];
  if (code !== 0) throw new CliError(words.trim().replace(/^registry-client: /, ""));
  return out
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);
}

/** Beside this executable, else on PATH: only it talks to registries. */
function registryClient(): string {
  const beside = path.join(path.dirname(process.execPath), "registry-client");
  return fs.existsSync(beside) ? beside : "registry-client";
}
