import fs from "node:fs";
import { familiarString, isImageId, parseReference, withDefaultTag } from "@longshore/reference";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { type EngineClient, EngineRefusal } from "../engine/client.ts";
import type { FlagValues } from "../flags.ts";
import { print, printError } from "../io/output.ts";
import { CREATE_FLAGS, type CreateBody, createBody, UNSUPPORTED_CREATE_FLAGS } from "./create-options.ts";
import { wantedPlatform } from "./platform-option.ts";
import { pullImage } from "./pull.ts";

export const create: Command = {
  name: "docker create",
  usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
  summary: "Create a new container",
  arity: { min: 1 },
  flags: CREATE_FLAGS,
  unsupported: UNSUPPORTED_CREATE_FLAGS,
  stopAtArgument: true,
  async run({ client, flags, args }) {
    checkPullPolicy(flags, "create");
    print(
      await createContainer(
        client,
        flags,
        withOptionHelp("create", () => createBody(flags, args)),
      ),
    );
    return 0;
  },
};

/** Create a container, pulling its image first where the policy says so. Gives its id; warnings go to stderr. */
export async function createContainer(
  client: EngineClient,
  flags: FlagValues,
  body: CreateBody,
): Promise<string> {
  const idFile = flags.string("cidfile");
  if (idFile !== "" && fs.existsSync(idFile)) {
    throw new CliError(
      `container ID file found, make sure the other container isn't running or delete ${idFile}`,
      125,
    );
  }
  const policy = flags.string("pull") || "missing";
  const output = { fd: 2, quiet: flags.bool("quiet"), platform: wantedPlatform(flags) } as const;
  const named = isImageId(body.Image) ? undefined : withDefaultTag(parseReference(body.Image));
  if (policy === "always") await pullImage(client, body.Image, output);
  const post = () =>
    client.json<{ Id: string; Warnings: string[] | null }>({
      method: "POST",
      path: "/containers/create",
      query: { name: flags.string("name") || undefined, platform: output.platform },
      json: body,
    });
  let created: Awaited<ReturnType<typeof post>>;
  try {
    created = await post();
  } catch (error) {
    const missing = error instanceof EngineRefusal && error.status === 404;
    if (!missing || !named || policy !== "missing") throw error;
    if (!output.quiet) printError(`Unable to find image '${familiarString(named)}' locally`);
    await pullImage(client, body.Image, output);
    created = await post();
  }
  for (const warning of created.Warnings ?? []) printError(`WARNING: ${warning}`);
  if (idFile !== "") fs.writeFileSync(idFile, created.Id);
  return created.Id;
}

/** A failure as `run` shows it. */
export function withHelp(error: unknown, command: string, exitCode: number): unknown {
  if (!(error instanceof Error)) return error;
  const expected =
    error instanceof EngineRefusal || error instanceof CliError || error.name === "EngineError";
  return expected
    ? new CliError(
        `docker: ${error.message}\n\nRun 'docker ${command} --help' for more information`,
        exitCode,
      )
    : error;
}

/** Options that can't be put together into a request. */
export function withOptionHelp<T>(command: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw withHelp(error, command, 125);
  }
}

export function checkPullPolicy(flags: FlagValues, command: string): void {
  const policy = flags.string("pull");
  if (["", "always", "missing", "never"].includes(policy)) return;
  throw new CliError(
    `docker: invalid pull option: '${policy}': must be one of "always", "missing" or "never"\n\nRun 'docker ${command} --help' for more information`,
    125,
  );
}
