import { EngineError } from "@longshore/errors";

/** What a volume's own file system is made of. */
export interface VolumeOptions {
  type: string;
  device: string;
  /** Words for mount(8)'s `-o`. */
  words: string[];
}

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const KNOWN = ["type", "o", "device"];
/** Options, and those that they make no sense without. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  type: ["device"],
  device: ["type"],
  o: ["device", "type"],
};

/** @throws EngineError `invalid_argument` in Docker's words */
export function checkVolumeName(name: string): void {
  if (name.length === 1) {
    throw new EngineError(
      "invalid_argument",
      `create ${name}: volume name is too short, names should be at least two alphanumeric characters`,
    );
  }
  if (NAME.test(name)) return;
  throw new EngineError(
    "invalid_argument",
    `create ${name}: ${JSON.stringify(name)} includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
  );
}

/** @throws EngineError `not_found` for a driver other than the engine's own */
export function checkVolumeDriver(name: string, driver: string): void {
  if (driver === "" || driver === "local") return;
  throw new EngineError(
    "not_found",
    `create ${name}: error looking up volume plugin ${driver}: plugin ${JSON.stringify(driver)} not found`,
  );
}

/** @throws EngineError `invalid_argument` in Docker's words, for `size` too: no quota is kept */
export function checkVolumeOptions(name: string, options: Record<string, string>): void {
  const fail = (why: string): never => {
    throw new EngineError("invalid_argument", `create ${name}: ${why}`);
  };
  const given = Object.keys(options).filter((key) => options[key] !== "");
  if (given.includes("size")) fail("quota size requested but no quota support");
  for (const key of Object.keys(options)) {
    if (!KNOWN.includes(key)) fail(`invalid option: ${JSON.stringify(key)}`);
  }
  for (const key of given) {
    for (const needed of NEEDS[key] ?? []) {
      if (!given.includes(needed)) fail(`missing required option: ${JSON.stringify(needed)}`);
    }
  }
}

/** @returns undefined for a volume that is only a directory */
export function volumeOptions(options: Record<string, string> | null): VolumeOptions | undefined {
  if (!options?.type) return undefined;
  const words = options.o ? options.o.split(",").filter((word) => word !== "") : [];
  return { type: options.type, device: options.device ?? "", words };
}
