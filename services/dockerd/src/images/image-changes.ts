import { EngineError } from "@longshore/errors";
import { parseSignal } from "../containers/signals.ts";
import type { ImageConfig } from "./image-config.ts";

/** What a container made of the image runs with: the `config` of an image's config. */
export type RunConfig = NonNullable<ImageConfig["config"]>;

type Change = (config: RunConfig, rest: string, original: string) => void;

/** Instructions that `--change` takes, as in Docker. */
const CHANGES: Record<string, Change> = {
  CMD: (config, rest) => {
    config.Cmd = command(config, rest);
  },
  ENTRYPOINT: (config, rest) => {
    // None is that of the container.
    const entrypoint = rest === "" ? [] : command(config, rest);
    config.Entrypoint = entrypoint.length > 0 ? entrypoint : null;
  },
  ENV: (config, rest, original) => {
    for (const [key, value] of pairs(rest, original)) {
      const env = [...(config.Env ?? [])];
      const at = env.findIndex((one) => one.startsWith(`${key}=`));
      env.splice(at < 0 ? env.length : at, 1, `${key}=${value}`);
      config.Env = env;
    }
  },
  EXPOSE: (config, rest) => {
    const ports = words(rest).flatMap(exposedPorts);
    config.ExposedPorts = { ...config.ExposedPorts, ...Object.fromEntries(ports.map((port) => [port, {}])) };
  },
  HEALTHCHECK: (config, rest) => {
    config.Healthcheck = healthcheck(rest);
  },
  LABEL: (config, rest, original) => {
    config.Labels = { ...config.Labels, ...Object.fromEntries(pairs(rest, original)) };
  },
  ONBUILD: (config, rest) => {
    const [, trigger = ""] = /^(\S+)/.exec(rest) ?? [];
    const what = trigger.toUpperCase();
    if (what === "ONBUILD")
      throw new EngineError("invalid_argument", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    if (["MAINTAINER", "FROM"].includes(what))
      throw new EngineError("invalid_argument", `${what} isn't allowed as an ONBUILD trigger`);
    config.OnBuild = [...(config.OnBuild ?? []), rest];
  },
  STOPSIGNAL: (config, rest) => {
    parseSignal(rest);
    config.StopSignal = rest;
  },
  USER: (config, rest) => {
    config.User = rest;
  },
  VOLUME: (config, rest) => {
    const paths = list(rest) ?? words(rest);
    if (paths.some((path) => path.trim() === ""))
      throw new EngineError("invalid_argument", "VOLUME specified can not be an empty string");
    config.Volumes = { ...config.Volumes, ...Object.fromEntries(paths.map((path) => [path, {}])) };
  },
  WORKDIR: (config, rest) => {
    config.WorkingDir = rest.startsWith("/")
      ? rest
      : `${(config.WorkingDir || "/").replace(/\/?$/, "/")}${rest}`;
  },
};

/**
 * An image's settings after Dockerfile instructions, each a line such as `ENV a=b c=d` or `CMD ["sh"]`.
 *
 * @throws EngineError `invalid_argument` for an instruction that isn't one of these, or lacks its arguments
 */
export function applyChanges(config: RunConfig, changes: readonly string[]): RunConfig {
  const changed: RunConfig = structuredClone(config);
  let hasCommand = false;
  for (const line of changes.flatMap((change) => change.split("\n"))) {
    const text = line.trim();
    if (text === "" || text.startsWith("#")) continue;
    const [, word = "", rest = ""] = /^(\S+)\s*(.*)$/s.exec(text) ?? [];
    const change = Object.hasOwn(CHANGES, word.toUpperCase()) ? CHANGES[word.toUpperCase()] : undefined;
    if (!change) {
      throw new EngineError("invalid_argument", `${word} is not a valid change command`);
    }
    if (rest === "" && !MAY_BE_EMPTY.includes(word.toUpperCase())) {
      const count = ["USER", "WORKDIR", "STOPSIGNAL"].includes(word.toUpperCase()) ? "exactly" : "at least";
      throw new EngineError("invalid_argument", `${word.toUpperCase()} requires ${count} one argument`);
    }
    change(changed, rest, text);
    // Another entrypoint has no use for the arguments of the one before.
    if (word.toUpperCase() === "CMD") hasCommand = true;
    else if (word.toUpperCase() === "ENTRYPOINT" && !hasCommand) changed.Cmd = null;
  }
  return changed;
}

const MAY_BE_EMPTY = ["CMD", "ENTRYPOINT"];

/** The exec form is a JSON list; anything else goes to a shell, which nothing at all starts without a command. */
function command({ Shell }: RunConfig, text: string): string[] {
  const shell = Shell && Shell.length > 0 ? Shell : ["/bin/sh", "-c"];
  return list(text) ?? [...shell, ...(text === "" ? [] : [text])];
}

function list(text: string): string[] | undefined {
  if (!text.startsWith("[")) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  } catch {
    // then it isn't the exec form
  }
  return undefined;
}

/** Words as a shell has them: quotes hold together, a backslash takes what follows as it is. */
function words(text: string): string[] {
  const found: string[] = [];
  let word: string | undefined;
  let quote = "";
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    if (quote !== "") {
      if (char === quote) quote = "";
      else if (char === "\\" && quote === '"' && i + 1 < text.length) word += text.charAt(++i);
      else word += char;
    } else if (char === "'" || char === '"') {
      quote = char;
      word ??= "";
    } else if (/\s/.test(char)) {
      if (word !== undefined) found.push(word);
      word = undefined;
    } else if (char === "\\" && i + 1 < text.length) word = (word ?? "") + text.charAt(++i);
    else word = (word ?? "") + char;
  }
  if (word !== undefined) found.push(word);
  return found;
}

/** `a=b c="d e"`, or the old form `a b c` that sets one. */
function pairs(text: string, original: string): [string, string][] {
  const [first = ""] = words(text);
  if (!first.includes("=")) {
    const [, key = "", value = ""] = /^(\S+)\s+(.*)$/s.exec(text) ?? [];
    if (key === "") {
      const instruction = original.slice(0, original.search(/\s/)).toUpperCase();
      throw new EngineError("invalid_argument", `${instruction} must have two arguments`);
    }
    return [[key, value]];
  }
  return words(text).map((word) => {
    const at = word.indexOf("=");
    if (at <= 0) {
      throw new EngineError(
        "invalid_argument",
        `Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`,
      );
    }
    return [word.slice(0, at), word.slice(at + 1)];
  });
}

/** Each port of a range is one of its own. */
function exposedPorts(text: string): string[] {
  const [, from, to, protocol = "tcp"] =
    /^([0-9]{1,5})(?:-([0-9]{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text) ?? [];
  const valid = (port: string | undefined) =>
    port === undefined || (Number(port) > 0 && Number(port) < 65536);
  const count = Number(to ?? from) - Number(from) + 1;
  if (from === undefined || !valid(from) || !valid(to) || count < 1) {
    throw new EngineError("invalid_argument", `invalid containerPort: ${text}`);
  }
  return Array.from({ length: count }, (_, index) => `${Number(from) + index}/${protocol.toLowerCase()}`);
}

const NANOSECONDS: Record<string, number> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 };
const DURATION = /^(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h))+$/;

function nanoseconds(text: string, flag: string): number {
  if (!DURATION.test(text)) {
    throw new EngineError(
      "invalid_argument",
      `HEALTHCHECK --${flag}: invalid duration ${JSON.stringify(text)}`,
    );
  }
  const parts = text.matchAll(/([0-9.]+)(ns|us|µs|ms|s|m|h)/g);
  return [...parts].reduce(
    (sum, [, number, unit = ""]) => sum + Number(number) * (NANOSECONDS[unit] ?? 0),
    0,
  );
}

const HEALTH_FLAGS: Record<string, string> = {
  interval: "Interval",
  timeout: "Timeout",
  "start-period": "StartPeriod",
  "start-interval": "StartInterval",
};

function healthcheck(text: string): NonNullable<RunConfig["Healthcheck"]> {
  const settings: Record<string, unknown> = {};
  let rest = text;
  for (let flag = /^--([a-z-]+)=(\S+)\s*/.exec(rest); flag; flag = /^--([a-z-]+)=(\S+)\s*/.exec(rest)) {
    const [whole, name = "", value = ""] = flag;
    const key = Object.hasOwn(HEALTH_FLAGS, name) ? HEALTH_FLAGS[name] : undefined;
    if (key !== undefined) settings[key] = nanoseconds(value, name);
    else if (name === "retries" && /^[0-9]+$/.test(value)) settings.Retries = Number(value);
    else throw new EngineError("invalid_argument", `HEALTHCHECK: unknown flag --${name}=${value}`);
    rest = rest.slice(whole.length);
  }
  const [, kind = "", given = ""] = /^(\S+)\s*(.*)$/s.exec(rest) ?? [];
  if (kind.toUpperCase() === "NONE" && given === "") return { ...settings, Test: ["NONE"] };
  if (kind.toUpperCase() !== "CMD" || given === "") {
    const type = JSON.stringify(kind.toUpperCase());
    throw new EngineError("invalid_argument", `Unknown type ${type} in HEALTHCHECK (try CMD)`);
  }
  const exec = list(given);
  return { ...settings, Test: exec ? ["CMD", ...exec] : ["CMD-SHELL", given] };
}
