import { runMain, UsageError } from "@longshore/cli";
import { commandHelp, parseArguments } from "./cli/command.ts";
import { COMMANDS, overview } from "./cli/commands.ts";

runMain("registry-client", { help: overview() }, async ([name, ...argv], signal) => {
  if (name === undefined) throw new UsageError("a command is missing: see registry-client --help");
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) throw new UsageError(`unknown command ${JSON.stringify(name)}: see registry-client --help`);
  if (argv.includes("--help") || argv.includes("-h")) {
    console.log(commandHelp(name, command));
    return 0;
  }
  const args = parseArguments(name, command, argv);
  return (await command.load())(args, signal);
});
