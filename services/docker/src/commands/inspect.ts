import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { type EngineClient, EngineRefusal } from "../engine/client.ts";
import type { Flag } from "../flags.ts";
import { checkTemplate, renderDecoded } from "../format/template.ts";
import { print, writeAll } from "../io/output.ts";
import { INSPECT_TYPES } from "./inspect-types.ts";
import { namedPlatforms } from "./platform-option.ts";

type Kind = "container" | "image" | "network" | "volume";

const PATHS: Record<Kind, (name: string) => string> = {
  container: (name) => `/containers/${encodeURIComponent(name)}/json`,
  image: (name) => `/images/${name}/json`,
  network: (name) => `/networks/${encodeURIComponent(name)}`,
  volume: (name) => `/volumes/${encodeURIComponent(name)}`,
};

/** The last versions that have everything that a user may ask for: newer ones have no `.NetworkSettings.IPAddress`. */
const NEWEST: Partial<Record<Kind, string>> = { container: "1.51" };

const FORMAT: Flag = {
  name: "format",
  short: "f",
  kind: "string",
  help: "Format output using a custom template: 'json' or a Go template",
};
const SIZE: Flag = {
  name: "size",
  short: "s",
  kind: "bool",
  help: "Display total file sizes if the type is container",
};

export const inspect: Command = {
  name: "docker inspect",
  usage: "[OPTIONS] NAME|ID [NAME|ID...]",
  summary: "Return low-level information on Docker objects",
  arity: { min: 1 },
  flags: [FORMAT, SIZE, { name: "type", kind: "string", help: "Only inspect objects of the given type" }],
  async run({ client, flags, args }) {
    const type = flags.string("type");
    if (type && !Object.hasOwn(PATHS, type)) throw new CliError(`unknown type: ${JSON.stringify(type)}`);
    const kinds = type ? [type as Kind] : (["container", "image", "network", "volume"] as const);
    return show(client, args, { kinds, format: flags.string("format"), size: flags.bool("size") });
  },
};

export const inspectContainer: Command = {
  ...inspect,
  name: "docker container inspect",
  usage: "[OPTIONS] CONTAINER [CONTAINER...]",
  summary: "Display detailed information on one or more containers",
  flags: [FORMAT, SIZE],
  run({ client, flags, args }) {
    return show(client, args, {
      kinds: ["container"],
      format: flags.string("format"),
      size: flags.bool("size"),
    });
  },
};

export const inspectImage: Command = {
  ...inspect,
  name: "docker image inspect",
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  summary: "Display detailed information on one or more images",
  flags: [
    FORMAT,
    {
      name: "platform",
      kind: "string",
      help: "Inspect a specific platform of the multi-platform image: 'os[/arch[/variant]]' (eg. linux/amd64)",
    },
  ],
  async run({ client, flags, args }) {
    const platform = await namedPlatforms(client, flags, { kind: "string", since: "1.49" });
    const format = flags.string("format");
    return show(client, args, { kinds: ["image"], format, size: false, query: { platform: platform[0] } });
  },
};

export const inspectNetwork: Command = {
  ...inspect,
  name: "docker network inspect",
  usage: "[OPTIONS] NETWORK [NETWORK...]",
  summary: "Display detailed information on one or more networks",
  flags: [
    FORMAT,
    { name: "scope", kind: "string", help: "The scope that the network has" },
    { name: "verbose", short: "v", kind: "bool", help: "Verbose output for diagnostics" },
  ],
  run({ client, flags, args }) {
    return show(client, args, {
      kinds: ["network"],
      format: flags.string("format"),
      size: false,
      query: {
        scope: flags.string("scope") || undefined,
        verbose: flags.bool("verbose") ? "true" : undefined,
      },
    });
  },
};

export const inspectVolume: Command = {
  ...inspect,
  name: "docker volume inspect",
  usage: "[OPTIONS] VOLUME [VOLUME...]",
  summary: "Display detailed information on one or more volumes",
  flags: [FORMAT],
  run({ client, flags, args }) {
    return show(client, args, { kinds: ["volume"], format: flags.string("format"), size: false });
  },
};

interface ShowOptions {
  kinds: readonly Kind[];
  format: string;
  size: boolean;
  /** Beside the size, of the one kind. */
  query?: Readonly<Record<string, string | undefined>>;
}

/** What was found is shown also when others were not. */
async function show(client: EngineClient, names: readonly string[], options: ShowOptions): Promise<number> {
  const { format } = options;
  const found: Found[] = [];
  const errors: string[] = [];
  for (const name of names) {
    try {
      found.push(await inspectOne(client, name, options));
    } catch (error) {
      if (!(error instanceof EngineRefusal || error instanceof CliError)) throw error;
      errors.push(error.message);
    }
  }
  const objects = found.map(({ object }) => object);
  if (format === "") writeAll(1, `${indented(objects)}\n`);
  else if (format === "json") print(JSON.stringify(objects));
  else {
    checkTemplate(format);
    for (const { kind, object } of found) {
      try {
        print(renderDecoded(format, object, INSPECT_TYPES[kind]));
      } catch (error) {
        if (!(error instanceof CliError)) throw error;
        print("");
        errors.push(`template parsing error: ${error.message}`);
      }
    }
  }
  if (errors.length > 0) throw new CliError(errors.join("\n"));
  return 0;
}

interface Found {
  kind: Kind;
  object: unknown;
}

async function inspectOne(
  client: EngineClient,
  name: string,
  { kinds, size, query: asked }: ShowOptions,
): Promise<Found> {
  for (const kind of kinds) {
    try {
      const query = { ...asked, size: size && kind === "container" ? 1 : undefined };
      const { [kind]: atMost } = NEWEST;
      const request = { path: PATHS[kind](name), query, ...(atMost && { atMost }) };
      return { kind, object: await client.json<unknown>(request) };
    } catch (error) {
      const next = error instanceof EngineRefusal && (error.status === 404 || error.status === 501);
      if (!next || kinds.length === 1) throw error;
    }
  }
  throw new CliError(`Error: No such object: ${name}`);
}

/** As the original: four spaces a level, empty lists and objects on one line. */
function indented(found: readonly unknown[]): string {
  if (found.length === 0) return "[]";
  return JSON.stringify(found, null, 4).replaceAll(
    /[\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16)}`,
  );
}
