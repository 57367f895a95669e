import { describe, expect, test } from "bun:test";
import fs from "node:fs";
import path from "node:path";
import { Message } from "./compact.ts";

/** A message of `gen/`. */
interface Generated {
  encode(message: unknown): { finish(): Uint8Array };
  decode(bytes: Uint8Array): unknown;
  fromPartial(partial: object): Record<string, unknown>;
}

type Module = Record<string, unknown>;

const directory = (name: string) => path.join(import.meta.dir, name);
const files = fs
  .readdirSync(directory("gen-compact"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  // What has no compact form is that of `gen/`.
  .filter((file) => !/^export \*/m.test(fs.readFileSync(path.join(directory("gen-compact"), file), "utf8")));

const SAMPLES: Record<string, unknown[]> = {
  s: ["", "a", "käse \u{1f9c0}", "x".repeat(300)],
  y: [Buffer.alloc(0), Buffer.from([0, 1, 255]), Buffer.alloc(200, 7)],
  b: [false, true],
  e: [0, 1, 2],
  i: [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)],
  u: [0, 1, 127, 128, 2 ** 28, 2 ** 32 - 1],
  I: [0n, 1n, -1n, 2n ** 35n, 2n ** 63n - 1n, -(2n ** 63n)],
  U: [0n, 1n, 300n, 2n ** 53n + 1n, 2n ** 64n - 1n],
  d: [0, 1.5, -1e300],
};

let turn = 0;

/** A message that has other values each time. */
function sample(message: Message, depth = 0): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const { name, form, kind, of } of message.fields) {
    const one = () => {
      if (of) return sample(of, depth + 1);
      const choice = SAMPLES[kind] ?? [];
      return choice[turn++ % choice.length];
    };
    const some = turn++ % 4;
    if (form === "*") values[name] = depth > 3 ? [] : Array.from({ length: some }, one);
    else if (form === "%")
      values[name] = Object.fromEntries(Array.from({ length: some }, (_, n) => [`k${n}`, one()]));
    else values[name] = (form === "?" || kind === "m") && (some === 0 || depth > 3) ? undefined : one();
  }
  return values;
}

async function modules(file: string): Promise<{ compact: Module; generated: Module }> {
  return {
    compact: (await import(path.join(directory("gen-compact"), file))) as Module,
    generated: (await import(path.join(directory("gen"), file))) as Module,
  };
}

describe.each(files)("gen-compact/%s", (file) => {
  test("has what gen has", async () => {
    const { compact, generated } = await modules(file);
    const names = Object.keys(generated).filter((name) => !name.startsWith("protobuf"));
    const described = (value: unknown) =>
      JSON.parse(
        JSON.stringify(value, (key, item) =>
          /^(request|response)Type$|^options$/.test(key) ? undefined : item,
        ),
      );
    for (const name of names) {
      const [ours, theirs] = [compact[name], generated[name]];
      // Entries of maps are no messages of their own here.
      if (ours === undefined) expect(name).toEndWith("Entry");
      else if (ours instanceof Message)
        expect(ours.fromPartial({})).toEqual((theirs as Generated).fromPartial({}));
      else expect(described(ours)).toEqual(described(theirs));
    }
  });

  test("reads and writes the same bytes", async () => {
    const { compact, generated } = await modules(file);
    for (const [name, message] of Object.entries(compact)) {
      if (!(message instanceof Message) || name.endsWith("Entry")) continue;
      const other = generated[name] as Generated;
      for (let round = 0; round < 40; round++) {
        const values = sample(message);
        const bytes = Buffer.from(other.encode(values).finish());
        expect(Buffer.from(message.encode(values).finish()).toString("hex")).toBe(bytes.toString("hex"));
        expect(message.decode(bytes)).toEqual(other.decode(bytes) as Record<string, unknown>);
      }
    }
  });
});

describe("Message", () => {
  const inner = new Message("1:s:name");
  const old = new Message("2:u:count");
  const message = new Message("1:s:id 2:u:count 3:*u:list 4:m0:inner", [inner]);

  test("skips fields that it doesn't know, of every wire type", () => {
    const unknown = Buffer.from(
      "0a0161" + "1d01020304" + "210102030405060708" + "2a021001" + "10" + "05",
      "hex",
    );
    expect(old.decode(unknown)).toEqual({ count: 5 });
  });

  test("reads numbers one by one, too, and the last of a field that comes twice", () => {
    expect(message.decode(Buffer.from("1801180210011002", "hex"))).toMatchObject({ list: [1, 2], count: 2 });
  });

  test("refuses what is cut short", () => {
    const whole = message.encode({ id: "abc", count: 1000, list: [1, 2], inner: { name: "x" } }).finish();
    const cuts = Array.from({ length: whole.length - 1 }, (_, index) => whole.subarray(0, index + 1));
    // A cut between two fields is a message.
    const refused = cuts.filter((cut) => {
      try {
        message.decode(cut);
        return false;
      } catch {
        return true;
      }
    });
    expect(refused.length).toBe(cuts.length - 3);
  });

  test("fills in what is missing, also within", () => {
    expect(message.fromPartial({ inner: {} })).toEqual({ id: "", count: 0, list: [], inner: { name: "" } });
    expect(message.decode(message.encode({ id: "x" }).finish())).toMatchObject({ id: "x", inner: undefined });
  });

  test("refuses numbers of more than 64 bits", () => {
    const wide = new Message("1:I:at 2:U:count");
    expect(() => wide.encode({ at: 2n ** 63n })).toThrow(RangeError);
    expect(() => wide.encode({ count: -1n })).toThrow(RangeError);
  });
});
