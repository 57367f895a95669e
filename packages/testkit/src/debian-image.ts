import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { blobOf, type LocalImage, makeImage, writeOciLayout } from "@longshore/suite";
import { output, run } from "./command.ts";

const CACHE = "/var/cache/longshore-test";
/** Change it when what is made of the packages changes. */
const RECIPE = 2;
/** One list a layer; what they depend on comes into the first. */
const LAYERS = [["base-files", "libc6"], ["coreutils", "dash"], []];
const USELESS = ["usr/share/doc", "usr/share/locale", "usr/share/man", "usr/share/info", "usr/share/lintian"];

/** Names and versions of the packages and of what they need, as this machine's package sources have them. */
async function closure(): Promise<string[]> {
  const flags = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"].map(
    (kind) => `--no-${kind}`,
  );
  const listed = await output([
    "apt-cache",
    "depends",
    "--recurse",
    "--important",
    ...flags,
    ...LAYERS.flat(),
  ]);
  const names = new Set(listed.split("\n").filter((line) => /^[a-z0-9]/.test(line)));
  const policy = await output(["apt-cache", "policy", ...names]);
  return policy.split(/^(?=\S)/m).flatMap((block) => {
    const version = /^ {2}Candidate: (\S+)$/m.exec(block)?.[1];
    return version === undefined || version === "(none)"
      ? []
      : [`${block.slice(0, block.indexOf(":"))}=${version}`];
  });
}

async function unpack(debs: string, names: string[], into: string): Promise<void> {
  for (const file of fs.readdirSync(debs)) {
    if (names.includes(file.split("_")[0] ?? ""))
      await output(["dpkg-deb", "-x", path.join(debs, file), into]);
  }
  for (const dir of USELESS) fs.rmSync(path.join(into, dir), { recursive: true, force: true });
}

async function build(packages: string[], dir: string): Promise<LocalImage> {
  const debs = path.join(dir, "debs");
  fs.mkdirSync(debs, { recursive: true });
  await output(["apt-get", "-o", "APT::Sandbox::User=root", "download", ...packages], {
    cwd: debs,
    timeoutMs: 300_000,
  });
  const [base = "", tools = "", site = ""] = LAYERS.map((_, index) => {
    const layer = path.join(dir, `layer${index + 1}`);
    fs.mkdirSync(layer);
    return layer;
  });
  const inTools = LAYERS[1] ?? [];
  const inBase = packages.map((name) => name.split("=")[0] ?? "").filter((name) => !inTools.includes(name));
  await unpack(debs, inBase, base);
  await unpack(debs, inTools, tools);
  const shell = ["usr/bin/dash", "bin/dash"].find((file) => fs.existsSync(path.join(tools, file)));
  if (shell === undefined) throw new Error("the package dash has no dash");
  const sh = path.join(tools, path.dirname(shell), "sh");
  if (!fs.existsSync(sh)) fs.symlinkSync("dash", sh);
  fs.mkdirSync(path.join(base, "etc"), { recursive: true });
  fs.writeFileSync(
    path.join(base, "etc/passwd"),
    "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\n",
  );
  fs.writeFileSync(path.join(base, "etc/group"), "root:x:0:\nwww-data:x:33:\n");
  fs.writeFileSync(path.join(base, "etc/to-be-removed"), "");
  fs.mkdirSync(path.join(base, "srv/hidden"), { recursive: true });
  fs.writeFileSync(path.join(base, "srv/hidden/below"), "");
  // What an upper layer does to lower ones: removes a file, replaces a directory's contents, changes a file.
  fs.mkdirSync(path.join(site, "etc"));
  fs.writeFileSync(path.join(site, "etc/.wh.to-be-removed"), "");
  fs.writeFileSync(path.join(site, "etc/motd"), "a Debian of packages\n");
  fs.mkdirSync(path.join(site, "srv/hidden"), { recursive: true });
  fs.writeFileSync(path.join(site, "srv/hidden/.wh..wh..opq"), "");
  fs.writeFileSync(path.join(site, "srv/hidden/above"), "");
  return makeImage({
    layers: [base, tools, site],
    cmd: ["/bin/sh"],
    env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LAYERS=3"],
  });
}

function readLayout(dir: string): LocalImage {
  const [entry] = JSON.parse(fs.readFileSync(path.join(dir, "index.json"), "utf8")).manifests;
  const blob = (digest: string) => blobOf(fs.readFileSync(path.join(dir, "blobs", digest.replace(":", "/"))));
  const manifest = blob(entry.digest);
  const { config, layers } = JSON.parse(manifest.bytes.toString()) as Record<"config", { digest: string }> &
    Record<"layers", { digest: string }[]>;
  return {
    manifest: { ...manifest, mediaType: entry.mediaType },
    blobs: [config, ...layers].map(({ digest }) => blob(digest)),
  };
}

/**
 * A small Debian of three gzip layers, made of this machine's own packages: shell and coreutils with their libraries. The last layer
 * removes `/etc/to-be-removed`, replaces what `/srv/hidden` holds by `above`, and writes `/etc/motd`. Kept in `/var/cache/longshore-test`.
 */
export async function debianImage(): Promise<LocalImage> {
  const packages = await closure();
  const key = crypto
    .createHash("sha256")
    .update(JSON.stringify([RECIPE, packages]))
    .digest("hex")
    .slice(0, 16);
  const layout = path.join(CACHE, `debian-${key}`);
  if (!fs.existsSync(layout)) {
    fs.mkdirSync(CACHE, { recursive: true });
    const work = fs.mkdtempSync(path.join(CACHE, "work-"));
    try {
      const image = await build(packages, work);
      writeOciLayout(image, path.join(work, "layout"), "latest");
      await run(["mv", "--no-target-directory", path.join(work, "layout"), layout]);
    } finally {
      fs.rmSync(work, { recursive: true });
    }
  }
  return readLayout(layout);
}
