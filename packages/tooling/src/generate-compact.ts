import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

/** A file of the image that buf makes of `proto/`, in JSON: the part that is used here. */
interface ProtoFile {
  name: string;
  package?: string;
  dependency?: string[];
  messageType?: MessageType[];
  enumType?: { name: string; value: { name: string; number?: number }[] }[];
  service?: { name: string; method: Method[] }[];
}

interface MessageType {
  name: string;
  field?: Field[];
  nestedType?: MessageType[];
  enumType?: unknown[];
  options?: { mapEntry?: boolean };
}

interface Field {
  name: string;
  number: number;
  label: string;
  type: string;
  typeName?: string;
  jsonName: string;
  oneofIndex?: number;
  proto3Optional?: boolean;
}

interface Method {
  name: string;
  inputType: string;
  outputType: string;
  clientStreaming?: boolean;
  serverStreaming?: boolean;
}

/** The letters of `packages/api/src/compact.ts`. */
const KINDS: Record<string, string> = {
  TYPE_STRING: "s",
  TYPE_BYTES: "y",
  TYPE_MESSAGE: "m",
  TYPE_BOOL: "b",
  TYPE_ENUM: "e",
  TYPE_INT32: "i",
  TYPE_UINT32: "u",
  TYPE_INT64: "I",
  TYPE_UINT64: "U",
  TYPE_DOUBLE: "d",
};

/** Messages that ts-proto makes something else of. */
const SPECIAL = /^google\.protobuf\.(FieldMask|Struct|Value|ListValue|\w+Value)$/;

/** Something that the compact form has no word for. */
class Unsupported extends Error {}

/** Write `packages/api/src/gen-compact`: the modules of `gen` under the same names, for the codec in `compact.ts`. */
export function generateCompact(options: { buf: string; protoDir: string; outDir: string }): void {
  const { buf, protoDir, outDir } = options;
  const image = execFileSync(buf, ["build", protoDir, "-o", "-#format=json"], { maxBuffer: 64 << 20 });
  const { file: files } = JSON.parse(image.toString()) as { file: ProtoFile[] };
  fs.rmSync(outDir, { recursive: true, force: true });
  // Where each message is, by its full name.
  const homes = new Map<string, string>();
  for (const file of files) for (const [fullName] of messagesOf(file)) homes.set(fullName, file.name);
  for (const file of files) {
    const target = path.join(outDir, file.name.replace(/\.proto$/, ".ts"));
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.writeFileSync(target, moduleOf(file, homes));
  }
}

function moduleOf(file: ProtoFile, homes: ReadonlyMap<string, string>): string {
  const up = "../".repeat(file.name.split("/").length);
  try {
    return compactModule(file, homes, up);
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error;
    return `// ${error.message}\nexport * from "${up}gen/${file.name.replace(/\.proto$/, ".ts")}";\n`;
  }
}

function compactModule(file: ProtoFile, homes: ReadonlyMap<string, string>, up: string): string {
  const lines: string[] = [];
  const imports = new Map<string, Set<string>>();
  const own = new Map(messagesOf(file));
  const done = new Set<string>();

  const reference = (fullName: string): string => {
    const name = identifier(fullName, own.has(fullName) ? file.package : undefined);
    if (SPECIAL.test(fullName)) throw new Unsupported(`${fullName} has a form of its own`);
    const home = homes.get(fullName);
    if (home === undefined) throw new Unsupported(`${fullName} is not there`);
    if (home !== file.name) imports.set(home, (imports.get(home) ?? new Set()).add(name));
    else if (!done.has(fullName)) define(fullName, []);
    return name;
  };

  const define = (fullName: string, within: readonly string[]): void => {
    if (within.includes(fullName)) throw new Unsupported(`${fullName} is within itself`);
    const message = own.get(fullName);
    if (!message || done.has(fullName)) return;
    if (message.enumType) throw new Unsupported(`${fullName} has an enumeration within`);
    const messages: string[] = [];
    const words = (message.field ?? [])
      .toSorted((a, b) => a.number - b.number)
      .map((field) => {
        const entry = entryOf(field, own);
        const valued = entry ?? field;
        const kind = KINDS[valued.type];
        if (kind === undefined) throw new Unsupported(`${fullName}.${field.name} is a ${valued.type}`);
        if (field.oneofIndex !== undefined && !field.proto3Optional)
          throw new Unsupported(`${fullName}.${field.name} is one of several`);
        let index = "";
        if (kind === "m" && valued.typeName) {
          const of = valued.typeName.slice(1);
          define(of, [...within, fullName]);
          messages.push(reference(of));
          index = String(messages.length - 1);
        }
        const repeated = field.label === "LABEL_REPEATED" ? "*" : field.proto3Optional ? "?" : "";
        return `${field.number}:${entry ? "%" : repeated}${kind}${index}:${camel(field.name)}`;
      });
    done.add(fullName);
    const of = messages.length > 0 ? `, [${messages.join(", ")}]` : "";
    const name = identifier(fullName, file.package);
    lines.push(
      `export const ${name} = /* @__PURE__ */ new Message(${JSON.stringify(words.join(" "))}${of});`,
    );
  };

  for (const fullName of own.keys()) define(fullName, []);
  for (const { name, value } of file.enumType ?? []) {
    const values = value.map((one) => `${one.name}: ${one.number ?? 0}`).join(", ");
    lines.push(`export const ${name} = { ${values} };`);
  }
  for (const { name, method } of file.service ?? []) {
    const words = method.map(
      (one) => `${one.clientStreaming ? ">" : ""}${one.name}${one.serverStreaming ? ">" : ""}`,
    );
    const messages = method.flatMap((one) =>
      [one.inputType, one.outputType].map((type) => reference(type.slice(1))),
    );
    const fullName = `${file.package}.${name}`;
    lines.push(
      `export const ${name}Definition = /* @__PURE__ */ service("${fullName}", "${words.join(" ")}", [${messages.join(", ")}]);`,
    );
  }
  const head = [...imports].map(
    ([home, names]) =>
      `import { ${[...names].join(", ")} } from "${up.slice(3) || "./"}${home.replace(/\.proto$/, ".ts")}";`,
  );
  return `${[`import { Message, service } from "${up}compact.ts";`, ...head, ...lines].join("\n")}\n`;
}

/** All messages of a file by their full names, nested ones included. */
function messagesOf(file: ProtoFile): [string, MessageType][] {
  const visit = (prefix: string, message: MessageType): [string, MessageType][] => {
    const fullName = `${prefix}.${message.name}`;
    return [[fullName, message], ...(message.nestedType ?? []).flatMap((nested) => visit(fullName, nested))];
  };
  return (file.messageType ?? []).flatMap((message) => visit(file.package ?? "", message));
}

/** The value of the entries, when a field is a map from strings. */
function entryOf(field: Field, own: ReadonlyMap<string, MessageType>): Field | undefined {
  const entry = field.typeName ? own.get(field.typeName.slice(1)) : undefined;
  if (!entry?.options?.mapEntry) return undefined;
  const [key, value] = entry.field ?? [];
  if (key?.type !== "TYPE_STRING") throw new Unsupported(`${field.name} is a map from ${key?.type}`);
  return value;
}

/** As ts-proto names it: nested ones with their parent's name before an underscore. */
function identifier(fullName: string, pkg: string | undefined): string {
  // Packages are in lower case, messages begin with a capital.
  const words = pkg ? fullName.slice(pkg.length + 1).split(".") : fullName.split(".");
  return words.filter((word) => /^[A-Z]/.test(word)).join("_");
}

function camel(name: string): string {
  return name.replace(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
