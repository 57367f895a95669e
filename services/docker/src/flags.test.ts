import { describe, expect, test } from "bun:test";
import { checkInteger, type Flag, parseFlags } from "./flags.ts";

const flags: Flag[] = [
  { name: "detach", short: "d", kind: "bool", help: "" },
  { name: "interactive", short: "i", kind: "bool", help: "" },
  { name: "tty", short: "t", kind: "bool", help: "" },
  { name: "env", short: "e", kind: "list", help: "" },
  { name: "name", kind: "string", help: "" },
  { name: "time", short: "n", kind: "string", help: "", check: checkInteger },
];
const unsupported = ["--volume", "-v"];
const parse = (text: string, stopAtArgument = true) =>
  parseFlags(text.split(" ").filter(Boolean), { flags, unsupported, stopAtArgument });

describe("parseFlags()", () => {
  test("takes long and short spellings, grouped and with their value attached", () => {
    const { flags: values, args } = parse("-itd -eA=1 -e B=2 -e=C=3 --env D --name=x image -d --nope");
    expect(["interactive", "tty", "detach"].map((name) => values.bool(name))).toEqual([true, true, true]);
    expect(values.list("env")).toEqual(["A=1", "B=2", "C=3", "D"]);
    expect(values.string("name")).toBe("x");
    expect(args).toEqual(["image", "-d", "--nope"]);
  });

  test("takes flags behind arguments where the command allows it, and none behind --", () => {
    const { flags: values, args } = parse("a -d b -- -t", false);
    expect(values.bool("detach")).toBe(true);
    expect(values.bool("tty")).toBe(false);
    expect(args).toEqual(["a", "b", "-t"]);
  });

  test("the last value of a flag counts, and a switch can be turned off", () => {
    const { flags: values } = parse("--name a --name b -d --detach=false -t=0");
    expect(values.string("name")).toBe("b");
    expect([values.bool("detach"), values.has("detach"), values.bool("tty")]).toEqual([false, true, false]);
  });

  test("an empty value is a value", () => {
    expect(parseFlags(["--name", ""], { flags }).flags.has("name")).toBe(true);
    expect(parseFlags(["--name="], { flags }).flags.string("name")).toBe("");
  });

  test("knows --help, and -h where no flag has it", () => {
    expect(parse("--help").help).toBe(true);
    expect(parse("-h").help).toBe(true);
    expect(parse("image --help").help).toBe(false);
  });

  test.each([
    ["--nope", "unknown flag: --nope"],
    ["-Q", "unknown shorthand flag: 'Q' in -Q"],
    ["-dQx", "unknown shorthand flag: 'Q' in -Qx"],
    ["--name", "flag needs an argument: --name"],
    ["-d -e", "flag needs an argument: 'e' in -e"],
    [
      "--detach=maybe",
      'invalid argument "maybe" for "-d, --detach" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
    ],
    ["-n x", 'invalid argument "x" for "-n, --time" flag: strconv.ParseInt: parsing "x": invalid syntax'],
    ["--volume /a:/b", "flag --volume is not supported by this client yet"],
    ["-v /a:/b", "flag -v is not supported by this client yet"],
  ])("refuses %s with pflag's words and exit code 125", (text, message) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ message, exitCode: 125 }));
  });
});
