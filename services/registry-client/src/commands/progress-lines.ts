const LINE_MS = 1000;

export interface ProgressLine {
  readonly digest: string;
  readonly state: string;
  readonly offset: number;
  readonly total: number;
  /** What else there is to say about the state. */
  readonly more?: string;
}

/** One line on stderr for each change of a blob's state, and one a second for the state that repeats itself. */
export function progressPrinter(repeating: string): (progress: ProgressLine) => void {
  const printed = new Map<string, { state: string; at: number }>();
  return ({ digest, state, offset, total, more }) => {
    const before = printed.get(digest);
    const now = performance.now();
    if (before?.state === state && now - before.at < LINE_MS) return;
    printed.set(digest, { state, at: now });
    const short = digest.slice(digest.indexOf(":") + 1).slice(0, 12);
    const count = state === repeating ? ` ${offset}/${total}` : "";
    console.error(`${short}: ${state}${count}${more === undefined ? "" : ` ${more}`}`);
  };
}
