import { familiarName } from "@longshore/reference";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import type { Flag } from "../flags.ts";
import { openInput, saveAnswer } from "../io/archive-file.ts";
import { print } from "../io/output.ts";
import { showProgress } from "../io/progress.ts";
import { isTerminal } from "../io/terminal.ts";
import { namedPlatforms, orInvalidPlatform, PLATFORM_FLAG, wantedPlatform } from "./platform-option.ts";
import { parseTarget } from "./tag.ts";

const OUTPUT = {
  name: "output",
  short: "o",
  kind: "string",
  help: "Write to a file, instead of STDOUT",
} as const;

const platformsFlag = (what: string): Flag => ({
  name: "platform",
  kind: "list",
  help: `${what} only the given platform(s). Formatted as a comma-separated list of "os[/arch[/variant]]" (e.g., "linux/amd64,linux/arm64/v8")`,
});

const CHANGE = {
  name: "change",
  short: "c",
  kind: "list",
  help: "Apply Dockerfile instruction to the created image",
} as const;

export const save: Command = {
  name: "docker save",
  usage: "[OPTIONS] IMAGE [IMAGE...]",
  summary: "Save one or more images to a tar archive (streamed to STDOUT by default)",
  arity: { min: 1 },
  flags: [OUTPUT, platformsFlag("Save")],
  async run({ client, flags, args }) {
    const platform = await orInvalidPlatform(namedPlatforms(client, flags, { kind: "list", since: "1.48" }));
    const ask = () => client.send({ path: "/images/get", query: { names: args, platform } });
    await saveAnswer(ask, flags.string("output"), "save image");
    return 0;
  },
};

export const load: Command = {
  name: "docker load",
  usage: "[OPTIONS]",
  summary: "Load an image from a tar archive or STDIN",
  arity: { min: 0, max: 0 },
  flags: [
    { name: "input", short: "i", kind: "string", help: "Read from tar archive file, instead of STDIN" },
    platformsFlag("Load"),
    { name: "quiet", short: "q", kind: "bool", help: "Suppress the load output" },
  ],
  async run({ client, flags }) {
    const input = flags.string("input");
    if (input === "" && isTerminal(0)) {
      throw new CliError("requested load from stdin, but stdin is empty");
    }
    const quiet = flags.bool("quiet") || !isTerminal(1);
    const platform = await orInvalidPlatform(namedPlatforms(client, flags, { kind: "list", since: "1.48" }));
    const answer = await client.send({
      method: "POST",
      path: "/images/load",
      query: { quiet: quiet ? 1 : 0, platform },
      headers: { "Content-Type": "application/x-tar" },
      body: openInput(input || "-"),
    });
    await showProgress(answer, { fd: 1, quiet: false });
    return 0;
  },
};

export const importImage: Command = {
  name: "docker import",
  usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
  summary: "Import the contents from a tarball to create a filesystem image",
  arity: { min: 1, max: 2 },
  flags: [
    CHANGE,
    { name: "message", short: "m", kind: "string", help: "Set commit message for imported image" },
    PLATFORM_FLAG,
  ],
  async run({ client, flags, args: [source = "", name = ""] }) {
    const remote = /^(https?:\/\/|git(:\/\/|@))/.test(source);
    const answer = await client.send({
      method: "POST",
      path: "/images/create",
      query: {
        fromSrc: remote ? source : "-",
        ...nameQuery(name),
        message: flags.string("message") || undefined,
        changes: flags.list("change"),
        platform: wantedPlatform(flags),
      },
      ...(!remote && { body: openInput(source), headers: { "Content-Type": "text/plain" } }),
    });
    await showProgress(answer, { fd: 1, quiet: false });
    return 0;
  },
};

export const exportContainer: Command = {
  name: "docker export",
  usage: "[OPTIONS] CONTAINER",
  summary: "Export a container's filesystem as a tar archive",
  arity: { min: 1, max: 1 },
  flags: [OUTPUT],
  async run({ client, flags, args: [container = ""] }) {
    const path = `/containers/${encodeURIComponent(container)}/export`;
    await saveAnswer(() => client.send({ path }), flags.string("output"), "export container");
    return 0;
  },
};

export const commit: Command = {
  name: "docker commit",
  usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
  summary: "Create a new image from a container's changes",
  arity: { min: 1, max: 2 },
  flags: [
    {
      name: "author",
      short: "a",
      kind: "string",
      help: 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")',
    },
    CHANGE,
    { name: "message", short: "m", kind: "string", help: "Commit message" },
    { name: "pause", short: "p", kind: "bool", help: "Pause container during commit (default true)" },
  ],
  async run({ client, flags, args: [container = "", name = ""] }) {
    const { Id } = await client.json<{ Id: string }>({
      method: "POST",
      path: "/commit",
      query: {
        container,
        ...nameQuery(name),
        author: flags.string("author") || undefined,
        comment: flags.string("message") || undefined,
        pause: flags.has("pause") && !flags.bool("pause") ? 0 : 1,
        changes: flags.list("change"),
      },
    });
    print(Id);
    return 0;
  },
};

function nameQuery(name: string): { repo?: string; tag?: string | undefined } {
  if (name === "") return {};
  const reference = parseTarget(name);
  return { repo: familiarName(reference), tag: reference.tag };
}
