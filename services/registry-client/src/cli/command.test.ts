import { expect, test } from "bun:test";
import { commandHelp, parseArguments } from "./command.ts";
import { COMMANDS, overview } from "./commands.ts";
import { registryOptions } from "./registry-arguments.ts";

const parse = (name: string, ...argv: string[]) => {
  const command = COMMANDS[name];
  if (!command) throw new Error(name);
  return parseArguments(name, command, argv);
};

test("parseArguments() takes texts, switches and lists", () => {
  const args = parse(
    "pull",
    "-n",
    "ns",
    "--password-stdin",
    "--insecure-registry",
    "a:1",
    "--insecure-registry=b",
    "x",
  );
  expect(args.text("namespace")).toBe("ns");
  expect(args.flag("password-stdin")).toBe(true);
  expect(args.positional(0)).toBe("x");
  expect(registryOptions(args)).toMatchObject({
    insecureRegistries: ["a:1", "b"],
    mirrors: [],
    certsDirs: ["/etc/docker/certs.d"],
  });
});

test.each([
  [["serve", "--nope"], "Unknown option '--nope'"],
  [["serve", "x"], "serve takes no arguments, not 1 arguments"],
  [["resolve"], "resolve takes REF, not 0 arguments"],
  [["resolve", "a", "b"], "resolve takes REF, not 2 arguments"],
])("parseArguments(%j) is refused", ([name = "", ...argv], message) => {
  expect(() => parse(name, ...argv)).toThrow(message);
});

test.each([
  ["ftp://m", "http(s) URL"],
  ["https://u:p@m", "without credentials"],
])("registryOptions() refuses the mirror %s", (mirror, message) => {
  expect(() => registryOptions(parse("serve", "--registry-mirror", mirror))).toThrow(message);
});

test("every command has a help that names its options, and a line in the overview", () => {
  for (const [name, command] of Object.entries(COMMANDS)) {
    const help = commandHelp(name, command);
    for (const option of Object.keys(command.options)) expect(help).toContain(`--${option}`);
    expect(overview()).toContain(`  ${name}`);
  }
});
