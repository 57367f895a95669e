/** ctrl-p ctrl-q */
export const DEFAULT_DETACH_KEYS = Buffer.from([16, 17]);

const CONTROL: Record<string, number> = { "@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, _: 31 };

/** Bytes of a key sequence as users write it: `ctrl-p,ctrl-q`, `ctrl-@`, `a`; undefined when there is no such key. */
export function parseDetachKeys(text: string): Buffer | undefined {
  const keys = text.split(",").map((key) => {
    if ([...key].length === 1) return key.charCodeAt(0);
    const control = /^ctrl-(.)$/.exec(key)?.[1];
    return control === undefined ? undefined : controlCode(control);
  });
  return keys.includes(undefined) ? undefined : Buffer.from(keys as number[]);
}

function controlCode(key: string): number | undefined {
  if (/[a-z]/.test(key)) return key.charCodeAt(0) - 96;
  return CONTROL[key];
}

/** Finds the detach sequence in what is typed; keys that turn out not to be it are handed on. */
export class DetachScanner {
  private matched = 0;
  private readonly keys: Buffer;

  constructor(keys: Buffer) {
    this.keys = keys;
  }

  /** What to hand on of a chunk, and whether the sequence is complete. */
  push(chunk: Buffer): { output: Buffer; detached: boolean } {
    if (this.keys.length === 0) return { output: chunk, detached: false };
    const output: number[] = [];
    for (const byte of chunk) {
      if (byte === this.keys[this.matched]) {
        this.matched++;
        if (this.matched === this.keys.length) return { output: Buffer.from(output), detached: true };
        continue;
      }
      if (this.matched > 0) {
        output.push(...this.keys.subarray(0, this.matched));
        this.matched = 0;
        if (byte === this.keys[0]) {
          this.matched = 1;
          continue;
        }
      }
      output.push(byte);
    }
    return { output: Buffer.from(output), detached: false };
  }
}
