const CONTROL: Readonly<Record<string, number>> = { "@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, _: 31 };

/** Ctrl-p, ctrl-q. */
export const DEFAULT_DETACH_KEYS: readonly number[] = [16, 17];

/** `ctrl-p,ctrl-q` or `a,b` → bytes. @throws Error naming the key that is none */
export function parseDetachKeys(text: string): number[] {
  return text.split(",").map((key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const [, control] = /^ctrl-(.)$/.exec(key.toLowerCase()) ?? [];
    const code =
      control === undefined
        ? undefined
        : /[a-z]/.test(control)
          ? control.charCodeAt(0) - 96
          : CONTROL[control];
    if (code === undefined) throw new Error(`Unknown character: '${key}'`);
    return code;
  });
}

/** Watches typed bytes for the keys that detach. Keys that may be the start of the sequence are held back until it is clear. */
export class DetachWatch {
  readonly #keys: readonly number[];
  #seen = 0;

  constructor(keys: readonly number[] = DEFAULT_DETACH_KEYS) {
    this.#keys = keys;
  }

  /** What to send on of `data`; `detached` when the sequence is complete. */
  push(data: Uint8Array): { send: Buffer; detached: boolean } {
    const out: number[] = [];
    for (const byte of data) {
      if (byte === this.#keys[this.#seen]) {
        this.#seen += 1;
        if (this.#seen === this.#keys.length) return { send: Buffer.from(out), detached: true };
        continue;
      }
      out.push(...this.#keys.slice(0, this.#seen));
      this.#seen = byte === this.#keys[0] ? 1 : 0;
      if (this.#seen === 0) out.push(byte);
    }
    return { send: Buffer.from(out), detached: false };
  }
}
