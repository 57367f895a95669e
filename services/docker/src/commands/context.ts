import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { type Context, checkName, DEFAULT_CONTEXT } from "../engine/contexts.ts";
import { contextInUse, contextsOf, DEFAULT_HOST, engineHost } from "../engine/host.ts";
import { type Column, formatList } from "../format/list.ts";
import { checkTemplate, renderTemplate } from "../format/template.ts";
import { print, printError, writeAll } from "../io/output.ts";

const TABLE = "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}";
const DESCRIPTION = "Current DOCKER_HOST based configuration";
/** Of `--docker`; the others are about TLS. */
const KEYS = ["host", "from"];

const CONTENT = [
  { name: "description", kind: "string", help: "Description of the context" },
  {
    name: "docker",
    kind: "string",
    value: "stringToString",
    help: "set the docker endpoint: host=ADDRESS, or from=CONTEXT",
  },
] as const;

const contexts = () => contextsOf(process.env);
const current = () => contextInUse(process.env);

/** A context by any name, the default one too. */
function find(name: string): Context {
  if (name !== DEFAULT_CONTEXT) return contexts().get(name);
  return { name, description: DESCRIPTION, host: process.env.DOCKER_HOST || DEFAULT_HOST };
}

/** @throws CliError for what `--docker` can't say */
function hostOf(text: string): string {
  const given = new Map(
    text.split(",").map((part) => {
      const equals = part.indexOf("=");
      if (equals < 0) throw new CliError(`${part} must be formatted as key=value`);
      return [part.slice(0, equals), part.slice(equals + 1)] as const;
    }),
  );
  for (const key of given.keys())
    if (!KEYS.includes(key)) throw new CliError(`unable to create endpoint config: ${key} is not supported`);
  const from = given.get("from");
  const host = from === undefined ? (given.get("host") ?? "") : find(from).host;
  if (host === "") throw new CliError("unable to create endpoint config: host is missing");
  engineHost(host, {}); // throws for what can't be reached from here
  return host;
}

export const createContext: Command = {
  name: "docker context create",
  usage: "[OPTIONS] CONTEXT",
  summary: "Create a context",
  arity: { min: 1, max: 1 },
  flags: [...CONTENT, { name: "from", kind: "string", help: "Create context from a named context" }],
  async run({ flags, args: [name = ""] }) {
    checkName(name);
    if (contexts().has(name)) throw new CliError(`context ${JSON.stringify(name)} already exists`);
    const from = flags.has("from") ? find(flags.string("from")) : undefined;
    if (from && flags.has("docker"))
      throw new CliError("cannot use --docker flag when --from is set: it is the endpoint of that context");
    if (!from && !flags.has("docker")) throw new CliError("docker endpoint configuration is required");
    contexts().put({
      name,
      description: flags.has("description") ? flags.string("description") : (from?.description ?? ""),
      host: from?.host ?? hostOf(flags.string("docker")),
    });
    print(name);
    printError(`Successfully created context ${JSON.stringify(name)}`);
    return 0;
  },
};

export const updateContext: Command = {
  name: "docker context update",
  usage: "[OPTIONS] CONTEXT",
  summary: "Update a context",
  arity: { min: 1, max: 1 },
  flags: CONTENT,
  async run({ flags, args: [name = ""] }) {
    const before = contexts().get(name);
    contexts().put({
      ...before,
      description: flags.has("description") ? flags.string("description") : before.description,
      host: flags.has("docker") ? hostOf(flags.string("docker")) : before.host,
    });
    print(name);
    printError(`Successfully updated context ${JSON.stringify(name)}`);
    return 0;
  },
};

interface Row extends Context {
  isCurrent: boolean;
}

const COLUMNS: Readonly<Record<string, Column<Row>>> = {
  Name: { header: "NAME", value: ({ name }) => name },
  Description: { header: "DESCRIPTION", value: ({ description }) => description },
  DockerEndpoint: { header: "DOCKER ENDPOINT", value: ({ host }) => host },
  Error: { header: "ERROR", value: () => "" },
  Current: { header: "", value: ({ isCurrent }) => (isCurrent ? "true" : "") },
  ID: { header: "NAME", value: ({ name }) => name },
};

export const listContexts: Command = {
  name: "docker context ls",
  usage: "[OPTIONS]",
  summary: "List contexts",
  arity: { min: 0, max: 0 },
  flags: [
    { name: "format", kind: "string", help: "Format output: 'table', 'json' or a Go template" },
    { name: "quiet", short: "q", kind: "bool", help: "Only show context names" },
  ],
  async run({ flags }) {
    const chosen = current();
    const rows = [find(DEFAULT_CONTEXT), ...contexts().list()].map((context) => ({
      ...context,
      isCurrent: context.name === chosen,
    }));
    const format = flags.string("format") || "table";
    const quiet = flags.bool("quiet");
    writeAll(
      1,
      formatList(rows, {
        type: "*formatter.clientContextContext",
        columns: COLUMNS,
        format,
        usual: TABLE,
        quiet,
      }),
    );
    return 0;
  },
};

export const showContext: Command = {
  name: "docker context show",
  usage: "",
  summary: "Print the name of the current context",
  arity: { min: 0, max: 0 },
  flags: [],
  async run() {
    print(current());
    return 0;
  },
};

export const useContext: Command = {
  name: "docker context use",
  usage: "CONTEXT",
  summary: "Set the current docker context",
  arity: { min: 1, max: 1 },
  flags: [],
  async run({ args: [name = ""] }) {
    find(name);
    contexts().use(name);
    print(name);
    printError(`Current context is now ${JSON.stringify(name)}`);
    if (name !== DEFAULT_CONTEXT && process.env.DOCKER_HOST)
      printError("Warning: DOCKER_HOST environment variable overrides the active context.");
    return 0;
  },
};

export const removeContexts: Command = {
  name: "docker context rm",
  usage: "CONTEXT [CONTEXT...]",
  summary: "Remove one or more contexts",
  arity: { min: 1 },
  flags: [{ name: "force", short: "f", kind: "bool", help: "Force the removal of a context in use" }],
  async run({ flags, args }) {
    let status = 0;
    for (const name of args) {
      try {
        remove(name, flags.bool("force"));
        print(name);
      } catch (error) {
        if (!(error instanceof CliError)) throw error;
        printError(error.message);
        status = 1;
      }
    }
    return status;
  },
};

function remove(name: string, force: boolean): void {
  if (name === DEFAULT_CONTEXT) throw new CliError('context "default" cannot be removed');
  const store = contexts();
  if (!store.has(name)) {
    if (force) return;
    store.get(name); // throws
  }
  if (store.current() === name) {
    if (!force) throw new CliError(`context ${JSON.stringify(name)} is in use, set -f flag to force remove`);
    store.use(DEFAULT_CONTEXT);
  }
  store.remove(name);
}

export const inspectContexts: Command = {
  name: "docker context inspect",
  usage: "[OPTIONS] [CONTEXT] [CONTEXT...]",
  summary: "Display detailed information on one or more contexts",
  arity: { min: 0 },
  flags: [
    {
      name: "format",
      short: "f",
      kind: "string",
      help: "Format output using a custom template: 'json' or a Go template",
    },
  ],
  async run({ flags, args }) {
    const format = flags.string("format");
    if (format !== "" && format !== "json") checkTemplate(format);
    const shown = (args.length > 0 ? args : [current()]).map((name) => show(find(name)));
    if (format === "" || format === "json") print(JSON.stringify(shown, null, format === "" ? 4 : 0));
    else for (const one of shown) print(renderTemplate(format, one));
    return 0;
  },
};

function show({ name, description, host, skipVerify = false }: Context) {
  const inMemory = name === DEFAULT_CONTEXT;
  const store = contexts();
  return {
    Name: name,
    Metadata: inMemory || description === "" ? {} : { Description: description },
    Endpoints: { docker: { Host: host, SkipTLSVerify: skipVerify } },
    TLSMaterial: {},
    Storage: {
      MetadataPath: inMemory ? "<IN MEMORY>" : store.metadataPath(name),
      TLSPath: inMemory ? "<IN MEMORY>" : store.tlsPath(name),
    },
  };
}
