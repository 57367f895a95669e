const PROGRESS_MS = 100;

/** Pass on each change of state, and of what repeats itself in a state one in 100 ms. */
export function rateLimited<P extends { readonly digest: string; readonly state: string }>(
  repeating: P["state"],
  report: (progress: P) => void,
): (progress: P) => void {
  const last = new Map<string, { state: string; at: number }>();
  return (progress) => {
    const { digest, state } = progress;
    const before = last.get(digest);
    const now = performance.now();
    if (before?.state === state && (state !== repeating || now - before.at < PROGRESS_MS)) return;
    last.set(digest, { state, at: now });
    report(progress);
  };
}
