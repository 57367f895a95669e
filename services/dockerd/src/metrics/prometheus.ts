/** Upper bounds of a histogram's buckets in seconds, those of Prometheus's clients. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export type Labels = Readonly<Record<string, string>>;

/** A metric with its present values. */
export interface Metric {
  name: string;
  help: string;
  type: "counter" | "gauge" | "histogram";
  samples: readonly Sample[];
}

export interface Sample {
  /** What follows the metric's name, `_bucket`. */
  suffix?: string;
  labels?: Labels;
  value: number;
}

interface Series {
  counts: number[];
  sum: number;
}

/** How long things took, by one label whose values are known from the start, so that each is shown before it happens. */
export class Histogram {
  private readonly name: string;
  private readonly help: string;
  private readonly label: string;
  private readonly series: Map<string, Series>;

  constructor(name: string, help: string, label: string, values: readonly string[]) {
    this.name = name;
    this.help = help;
    this.label = label;
    this.series = new Map(values.map((value) => [value, { counts: [...BUCKETS, 0].map(() => 0), sum: 0 }]));
  }

  observe(value: string, seconds: number): void {
    const series = this.series.get(value);
    if (!series) throw new Error(`${this.name} has no ${this.label} ${value}`);
    const bucket = BUCKETS.findIndex((bound) => seconds <= bound);
    const index = bucket < 0 ? BUCKETS.length : bucket;
    series.counts[index] = (series.counts[index] ?? 0) + 1;
    series.sum += seconds;
  }

  collect(): Metric {
    const samples = [...this.series].flatMap(([value, { counts, sum }]) => {
      let total = 0;
      const buckets = counts.map((count, index): Sample => {
        total += count;
        return {
          suffix: "_bucket",
          labels: { [this.label]: value, le: String(BUCKETS[index] ?? "+Inf") },
          value: total,
        };
      });
      const labels = { [this.label]: value };
      return [...buckets, { suffix: "_sum", labels, value: sum }, { suffix: "_count", labels, value: total }];
    });
    return { name: this.name, help: this.help, type: "histogram", samples };
  }
}

/**
 * Metrics as Prometheus reads them.
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4
 */
export function renderMetrics(metrics: readonly Metric[]): string {
  return metrics
    .map(({ name, help, type, samples }) => {
      const lines = samples.map(
        ({ suffix = "", labels = {}, value }) => `${name}${suffix}${showLabels(labels)} ${value}\n`,
      );
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
    })
    .join("");
}

function showLabels(labels: Labels): string {
  const shown = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return shown.length === 0 ? "" : `{${shown.join(",")}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
