import type { AboutContainer } from "./about.ts";
import { attributesOf } from "./attributes.ts";
import { invalid, type Options } from "./options.ts";

const SHORT_ID = 12;
/** What stands between `{{` and `}}`: words, strings, and parentheses. */
const TOKEN = /\s*(?:(\.[\w.]*)|("(?:[^"\\]|\\.)*"|`[^`]*`)|(-?\d+)|([A-Za-z]\w*)|([()|]))\s*/y;

type Value = unknown;
type Functions = Readonly<Record<string, (...args: Value[]) => Value>>;

const FUNCTIONS: Functions = {
  truncate: (text, length) => String(text).slice(0, Number(length)),
  upper: (text) => String(text).toUpperCase(),
  lower: (text) => String(text).toLowerCase(),
  title: (text) => String(text).replace(/(^|\s)\S/g, (letter) => letter.toUpperCase()),
  json: (value) => JSON.stringify(value),
  join: (list, separator) => (Array.isArray(list) ? list.join(String(separator)) : ""),
  split: (text, separator) => String(text).split(String(separator)),
  index: (value, key) => (value as Record<string, Value> | undefined)?.[String(key)] ?? "",
  print: (...values) => values.map(String).join(" "),
  pad: (text, before, after) => text && " ".repeat(Number(before)) + String(text) + " ".repeat(Number(after)),
};

/**
 * A container's tag: a template with Docker's fields (`{{.ID}}`, `{{.Name}}`, `{{.ImageName}}` …), functions and pipelines.
 * @throws EngineError `invalid_argument` for a template that can't be read or names what isn't there
 */
export function tagOf(options: Options, about: AboutContainer, byDefault: string): string {
  const template = options.tag || byDefault;
  const data = fieldsOf(options, about);
  return template.replace(/\{\{(-\s)?(.*?)(\s-)?\}\}/gs, (_whole, _left, action: string) => {
    const value = new Action(action, data, template).value();
    return value === undefined || value === null ? "<no value>" : String(value);
  });
}

function fieldsOf(options: Options, about: AboutContainer): Record<string, Value> {
  const { id, name, imageId, imageName, command, created, env, labels, daemonName } = about;
  const imageHex = imageId.replace(/^sha256:/, "");
  return {
    ID: id.slice(0, SHORT_ID),
    FullID: id,
    Name: name,
    ImageID: imageHex.slice(0, SHORT_ID),
    ImageFullID: imageId,
    ImageName: imageName,
    DaemonName: daemonName,
    Command: command.join(" "),
    Config: options,
    ContainerID: id,
    ContainerName: `/${name}`,
    ContainerEntrypoint: command[0] ?? "",
    ContainerArgs: command.slice(1),
    ContainerImageID: imageId,
    ContainerImageName: imageName,
    ContainerCreated: created,
    ContainerEnv: env,
    ContainerLabels: labels,
    ExtraAttributes: attributesOf(options, about),
  };
}

/** One `{{ … }}`, read and carried out from left to right. */
class Action {
  private readonly tokens: string[] = [];
  private readonly data: Record<string, Value>;
  private readonly template: string;

  constructor(text: string, data: Record<string, Value>, template: string) {
    this.data = data;
    this.template = template;
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < text.length) {
      const found = TOKEN.exec(text);
      if (!found) throw this.problem(`unexpected text in ${JSON.stringify(text)}`);
      this.tokens.push(found[0].trim());
    }
  }

  value(): Value {
    const value = this.pipeline();
    if (this.tokens.length > 0) throw this.problem(`unexpected ${JSON.stringify(this.tokens[0])}`);
    return value;
  }

  /** Each part of it is the last argument of the next. */
  private pipeline(): Value {
    let value = this.command([]);
    while (this.tokens[0] === "|") {
      this.tokens.shift();
      value = this.command([value]);
    }
    return value;
  }

  private command(piped: Value[]): Value {
    const [first] = this.tokens;
    if (first !== undefined && Object.hasOwn(FUNCTIONS, first)) {
      this.tokens.shift();
      return FUNCTIONS[first]?.(...this.operands(), ...piped);
    }
    const operands = this.operands();
    if (operands.length === 0) throw this.problem("missing value for command");
    const [value, ...more] = operands;
    // As `.ExtraAttributes nil`: what is called with it is there already.
    if (piped.length > 0 || more.some((one) => one !== undefined))
      throw this.problem("can't give arguments to a value");
    return value;
  }

  private operands(): Value[] {
    const values: Value[] = [];
    while (this.tokens.length > 0 && this.tokens[0] !== "|" && this.tokens[0] !== ")") {
      values.push(this.operand(this.tokens.shift() ?? ""));
    }
    return values;
  }

  private operand(token: string): Value {
    if (token === "(") {
      const value = this.pipeline();
      if (this.tokens.shift() !== ")") throw this.problem("unclosed left paren");
      const field = this.tokens[0]?.startsWith(".") ? this.tokens.shift() : undefined;
      return field === undefined ? value : this.field(value, field);
    }
    if (token.startsWith(".")) return this.field(this.data, token);
    if (token.startsWith('"')) return JSON.parse(token);
    if (token.startsWith("`")) return token.slice(1, -1);
    if (/^-?\d+$/.test(token)) return Number(token);
    if (token === "nil") return undefined;
    throw this.problem(`function ${JSON.stringify(token)} not defined`);
  }

  private field(from: Value, path: string): Value {
    let value = from;
    for (const name of path.split(".").filter((part) => part !== "")) {
      if (value === this.data && !Object.hasOwn(this.data, name)) {
        throw this.problem(`can't evaluate field ${name}`);
      }
      value = (value as Record<string, Value> | undefined)?.[name];
    }
    return value;
  }

  private problem(why: string): Error {
    return invalid(`template: log-tag: ${why}: ${this.template}`);
  }
}
