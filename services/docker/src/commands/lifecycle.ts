import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { EngineRefusal } from "../engine/client.ts";
import { checkInteger, type Flag } from "../flags.ts";
import { print } from "../io/output.ts";
import { forEachName } from "./parallel.ts";

const MANY = { usage: "[OPTIONS] CONTAINER [CONTAINER...]", arity: { min: 1 } } as const;

const STOP_FLAGS: readonly Flag[] = [
  { name: "signal", short: "s", kind: "string", help: "Signal to send to the container" },
  {
    name: "time",
    kind: "string",
    value: "int",
    help: "Deprecated: use --timeout instead",
    check: checkInteger,
  },
  {
    name: "timeout",
    short: "t",
    kind: "string",
    value: "int",
    help: "Seconds to wait before killing the container",
    check: checkInteger,
  },
];

export const stop: Command = stopLike("stop", "Stop one or more running containers");
export const restart: Command = stopLike("restart", "Restart one or more containers");

function stopLike(verb: "stop" | "restart", summary: string): Command {
  return {
    ...MANY,
    name: `docker ${verb}`,
    summary,
    flags: STOP_FLAGS,
    run({ client, flags, args }) {
      const query = {
        signal: flags.string("signal") || undefined,
        t: flags.string("timeout") || flags.string("time") || undefined,
      };
      return forEachName(args, (name) =>
        client.text({ method: "POST", path: `/containers/${encodeURIComponent(name)}/${verb}`, query }),
      );
    },
  };
}

export const pause: Command = plain("pause", "Pause all processes within one or more containers");
export const unpause: Command = plain("unpause", "Unpause all processes within one or more containers");

function plain(verb: "pause" | "unpause", summary: string): Command {
  return {
    ...MANY,
    usage: "CONTAINER [CONTAINER...]",
    name: `docker ${verb}`,
    summary,
    flags: [],
    run({ client, args }) {
      return forEachName(args, (name) =>
        client.text({ method: "POST", path: `/containers/${encodeURIComponent(name)}/${verb}` }),
      );
    },
  };
}

export const kill: Command = {
  ...MANY,
  name: "docker kill",
  summary: "Kill one or more running containers",
  flags: [{ name: "signal", short: "s", kind: "string", help: "Signal to send to the container" }],
  run({ client, flags, args }) {
    const query = { signal: flags.string("signal") || undefined };
    return forEachName(args, (name) =>
      client.text({ method: "POST", path: `/containers/${encodeURIComponent(name)}/kill`, query }),
    );
  },
};

export const rm: Command = {
  ...MANY,
  name: "docker rm",
  summary: "Remove one or more containers",
  flags: [
    {
      name: "force",
      short: "f",
      kind: "bool",
      help: "Force the removal of a running container (uses SIGKILL)",
    },
    {
      name: "volumes",
      short: "v",
      kind: "bool",
      help: "Remove anonymous volumes associated with the container",
    },
    { name: "link", short: "l", kind: "bool", help: "Remove the specified link" },
  ],
  run({ client, flags, args }) {
    const force = flags.bool("force");
    const link = flags.bool("link");
    const query = {
      force: force ? 1 : undefined,
      v: flags.bool("volumes") ? 1 : undefined,
      link: link ? 1 : undefined,
    };
    return forEachName(
      args,
      async (name) => {
        const id = name.replace(/^\/+|\/+$/g, "");
        if (id === "") throw new CliError("container name cannot be empty");
        await client.text({
          method: "DELETE",
          path: `/containers/${id.split("/").map(encodeURIComponent).join("/")}`,
          query,
        });
      },
      { forgive: ({ status }) => force && status === 404 },
    );
  },
};

export const wait: Command = {
  name: "docker wait",
  usage: "CONTAINER [CONTAINER...]",
  summary: "Block until one or more containers stop, then print their exit codes",
  arity: { min: 1 },
  flags: [],
  async run({ client, args }) {
    const errors: string[] = [];
    for (const name of args) {
      try {
        const path = `/containers/${encodeURIComponent(name)}/wait`;
        print(String((await client.json<{ StatusCode: number }>({ method: "POST", path })).StatusCode));
      } catch (error) {
        errors.push(error instanceof Error ? error.message : String(error));
      }
    }
    if (errors.length > 0) throw new CliError(errors.join("\n"));
    return 0;
  },
};

export const rename: Command = {
  name: "docker rename",
  usage: "CONTAINER NEW_NAME",
  summary: "Rename a container",
  arity: { min: 2, max: 2 },
  flags: [],
  async run({ client, args: [from = "", to = ""] }) {
    try {
      await client.text({
        method: "POST",
        path: `/containers/${encodeURIComponent(from)}/rename`,
        query: { name: to },
      });
    } catch (error) {
      if (!(error instanceof EngineRefusal)) throw error;
      throw new CliError(`${error.message}\nError: failed to rename container named ${from}`);
    }
    return 0;
  },
};
