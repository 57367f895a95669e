import { EngineError } from "@longshore/errors";

/** What an image is for: of its config, or of an index's entry. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** Of the architecture, e.g. `v7`; empty for its default. */
  readonly variant: string;
}

export function hostPlatform(): Platform {
  return normalizePlatform({ os: "linux", architecture: process.arch, variant: "" });
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: "amd64",
  x86_64: "amd64",
  "x86-64": "amd64",
  aarch64: "arm64",
  ia32: "386",
  i386: "386",
  armhf: "arm",
  armel: "arm",
};

/** One spelling for each platform, as containerd's `platforms.Normalize`. */
export function normalizePlatform({ os, architecture, variant }: Platform): Platform {
  const name = architecture.toLowerCase();
  const arch = ARCHITECTURES[name] ?? name;
  let v = variant.toLowerCase();
  if (arch === "arm64" && (v === "8" || v === "v8")) v = "";
  if (arch === "amd64" && v === "v1") v = "";
  if (arch === "arm" && v === "") v = name === "armel" ? "v6" : "v7";
  if (arch === "arm" && /^[5-8]$/.test(v)) v = `v${v}`;
  return { os: os.toLowerCase(), architecture: arch, variant: v };
}

/** Go's names, of which one alone stands for a platform. */
const KNOWN_SYSTEMS =
  "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris windows zos".split(
    " ",
  );
const KNOWN_ARCHITECTURES =
  "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm".split(" ");

/**
 * `linux/arm64/v8` → its parts; a system or an architecture alone is completed by the host's.
 *
 * @throws EngineError `invalid_argument` in containerd's words
 * @see containerd/platforms, `Parse`
 */
export function parsePlatform(text: string): Platform {
  const invalid = (why: string) => new EngineError("invalid_argument", `${why}: invalid argument`);
  const quoted = JSON.stringify(text);
  if (text.includes("*")) throw invalid(`${quoted}: wildcards not yet supported`);
  const parts = text.split("/");
  for (const part of parts) {
    if (/^[A-Za-z0-9_-]+$/.test(part)) continue;
    const must = 'platform specifier component must match "^[A-Za-z0-9_-]+$"';
    throw invalid(`${JSON.stringify(part)} is an invalid component of ${quoted}: ${must}`);
  }
  const [first = "", architecture, variant = ""] = parts;
  if (parts.length > 3) throw invalid(`${quoted}: cannot parse platform specifier`);
  if (architecture !== undefined) return normalizePlatform({ os: first, architecture, variant });
  if (KNOWN_SYSTEMS.includes(first.toLowerCase())) return { ...hostPlatform(), os: first.toLowerCase() };
  const alone = normalizePlatform({ os: "linux", architecture: first, variant: "" });
  if (KNOWN_ARCHITECTURES.includes(alone.architecture)) return alone;
  throw invalid(`${quoted}: unknown operating system or architecture`);
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter(Boolean).join("/");
}

/**
 * What runs on a platform, best first: its own variant, then older ones, then the smaller architecture that it also runs.
 * @see containerd/platforms, `compare.go`
 */
export function compatiblePlatforms(platform: Platform): Platform[] {
  const { os, architecture, variant } = platform;
  const of = (arch: string, v: string): Platform => ({ os, architecture: arch, variant: v });
  // There are none of more digits; nobody's number is counted down from.
  const level = /^v\d$/.test(variant) ? Number(variant.slice(1)) : undefined;
  if (variant !== "" && level === undefined && architecture !== "arm64") return [platform];
  if (architecture === "amd64") {
    const own = level ?? 1;
    const older = Array.from({ length: Math.max(0, own - 2) }, (_, i) => of("amd64", `v${own - 1 - i}`));
    return [platform, ...older, ...(own > 1 ? [of("amd64", "")] : []), of("386", "")];
  }
  if (architecture === "arm" && level !== undefined) {
    return Array.from({ length: Math.max(1, level - 4) }, (_, i) => of("arm", `v${level - i}`));
  }
  if (architecture === "arm64") {
    const own = variant ? [platform, of("arm64", "")] : [platform];
    return [...own, ...["v8", "v7", "v6", "v5"].map((v) => of("arm", v))];
  }
  return [platform];
}

/**
 * The entry of an index for a platform. Entries that name no platform are taken when nothing else fits and there is but one.
 * @throws EngineError `not_found` in Docker's words
 */
export function choosePlatform<T extends { readonly platform?: Platform | undefined }>(
  entries: readonly T[],
  wanted: Platform,
): T {
  for (const candidate of compatiblePlatforms(wanted)) {
    const found = entries.find(
      ({ platform }) => platform && samePlatform(normalizePlatform(platform), candidate),
    );
    if (found) return found;
  }
  const unnamed = entries.filter(({ platform }) => platform === undefined);
  const [only] = unnamed;
  if (only && unnamed.length === 1) return only;
  throw new EngineError(
    "not_found",
    `no matching manifest for ${formatPlatform(wanted)} in the manifest list entries`,
  );
}

/**
 * Whether an image for one platform runs on another. Images of old tools name no variant, and are taken for any.
 */
export function runsOn(image: Platform, host: Platform): boolean {
  const own = normalizePlatform(image);
  const wanted = normalizePlatform(host);
  const isUnsaid = image.variant === "" && own.os === wanted.os && own.architecture === wanted.architecture;
  return isUnsaid || compatiblePlatforms(wanted).some((one) => samePlatform(one, own));
}

/** Whether an image is for just this platform: no smaller one that runs on it too, as containerd's `platforms.OnlyStrict`. */
export function isPlatform(image: Platform, wanted: Platform): boolean {
  return samePlatform(normalizePlatform(image), normalizePlatform(wanted));
}

function samePlatform(a: Platform, b: Platform): boolean {
  return a.os === b.os && a.architecture === b.architecture && a.variant === b.variant;
}
