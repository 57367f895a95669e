/** Someone who is measured: ours, or a real peer. */
export type Contender = "ours" | "real" | "ours, own CLI";

/** What is done over and over by each contender. */
export interface Benchmark {
  readonly name: string;
  /** The most that ours may be, as a part of the real one's. */
  readonly bar?: number;
  readonly atLeast?: BenchmarkResult["atLeast"];
  readonly limit?: BenchmarkResult["limit"];
  /** Of what an attempt returns; `ms` when left out. */
  readonly unit?: BenchmarkResult["unit"];
  readonly contenders: ReadonlyMap<Contender, Attempt>;
}

/** Do it once; returns what it took, in milliseconds unless the benchmark says otherwise. */
export type Attempt = (round: number) => Promise<number> | number;

export interface Summary {
  readonly median: number;
  readonly p95: number;
  readonly min: number;
  readonly count: number;
}

export interface BenchmarkResult {
  readonly name: string;
  readonly unit: "ms" | "MB" | "MB/s" | "/s";
  readonly bar?: number;
  /** The least that ours must be, where more is better: so much in its unit, if that is said, or else so many times the real one's. */
  readonly atLeast?: { readonly value?: number; readonly timesReal: number };
  /** The most that ours may be, in its unit. */
  readonly limit?: number;
  readonly summaries: ReadonlyMap<Contender, Summary | Error>;
}

/** @throws RangeError for no samples */
export function summarize(samples: readonly number[]): Summary {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  const [median, p95, min] = [at(0.5), at(0.95), sorted[0]];
  if (median === undefined || p95 === undefined || min === undefined) throw new RangeError("no samples");
  return { median, p95, min, count: sorted.length };
}

/**
 * Run a benchmark, the contenders taking turns, so that whatever else the machine does meets all of them. A contender
 * that fails is out, with its error.
 */
export async function measure(
  benchmark: Benchmark,
  { rounds, warmUp, signal }: { rounds: number; warmUp: number; signal: AbortSignal },
): Promise<BenchmarkResult> {
  const { name, bar, atLeast, limit, unit = "ms", contenders } = benchmark;
  const samples = new Map<Contender, number[]>();
  const failures = new Map<Contender, Error>();
  const order = [...contenders];
  for (let round = -warmUp; round < rounds; round++) {
    // Whoever comes first may find colder caches.
    order.reverse();
    for (const [contender, attempt] of order) {
      signal.throwIfAborted();
      if (failures.has(contender)) continue;
      try {
        const took = await attempt(round + warmUp);
        if (round >= 0) samples.set(contender, [...(samples.get(contender) ?? []), took]);
      } catch (error) {
        failures.set(contender, error instanceof Error ? error : new Error(String(error)));
      }
    }
  }
  const summaries = new Map<Contender, Summary | Error>();
  for (const contender of contenders.keys())
    summaries.set(contender, failures.get(contender) ?? summarize(samples.get(contender) ?? []));
  return {
    ...{ name, unit, summaries },
    ...(bar !== undefined && { bar }),
    ...(atLeast && { atLeast }),
    ...(limit !== undefined && { limit }),
  };
}
