import { COMMIT, VERSION } from "@longshore/cli";
import { SPEC_VERSION } from "@longshore/oci";
import { type Command, MANY, print } from "../command.ts";
import { commands as checkpoint } from "./checkpoint.ts";
import { commands as create } from "./create.ts";
import { commands as remove } from "./delete.ts";
import { commands as events } from "./events.ts";
import { commands as exec } from "./exec.ts";
import { commands as kill } from "./kill.ts";
import { commands as list } from "./list.ts";
import { commands as pause } from "./pause.ts";
import { commands as run } from "./run.ts";
import { commands as spec } from "./spec.ts";
import { commands as start } from "./start.ts";
import { commands as state } from "./state.ts";
import { commands as update } from "./update.ts";

export { runtime } from "../runtime.ts";

const all: Record<string, Command> = {
  ...create,
  ...run,
  ...start,
  ...remove,
  ...exec,
  ...kill,
  ...state,
  ...list,
  ...update,
  ...events,
  ...pause,
  ...spec,
  ...checkpoint,
};

function help(): string {
  const lines = Object.entries(all).map(([name, { usage }]) => `   ${name.padEnd(12)}${usage}\n`);
  return [
    "NAME:\n   runc - Open Container Initiative runtime\n\n",
    "USAGE:\n   runc [global options] command [command options] [arguments...]\n\n",
    `VERSION:\n   ${VERSION}\n\nCOMMANDS:\n`,
    ...lines,
    "\nGLOBAL OPTIONS:\n",
    "   --debug              log more\n",
    "   --log FILE           where to log (standard error)\n",
    "   --log-format FORMAT  text or json (text)\n",
    `   --root DIR           where the containers' state is kept (/run/runc)\n`,
    "   --rootless false     true is not supported\n",
    "   --help, -h           print this\n",
    "   --version, -v        print the version\n",
  ].join("");
}

function version(): string {
  return `runc version ${VERSION}\n${COMMIT && `commit: ${COMMIT}\n`}spec: ${SPEC_VERSION}\n`;
}

const command = (usage: string, text: () => string): Command => ({
  flags: {},
  args: [0, MANY],
  usage,
  run: () => {
    print(text());
    return 0;
  },
});

export const commands: Record<string, Command> = {
  help: command("print this", help),
  version: command("print the version", version),
};
