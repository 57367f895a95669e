const PADDING = 3;
const MIN_WIDTH = 10;

/** Columns three spaces apart and at least ten wide, the last one not padded; as Docker's tables. */
export function formatTable(
  rows: readonly (readonly string[])[],
  { minWidth = MIN_WIDTH }: { minWidth?: number } = {},
): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [i, cell] of row.slice(0, -1).entries()) {
      widths[i] = Math.max(widths[i] ?? minWidth, Array.from(cell).length + PADDING);
    }
  }
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) =>
        i === row.length - 1 ? cell : cell + " ".repeat((widths[i] ?? 0) - Array.from(cell).length),
      )
      .join("");
  return rows.map((row) => `${line(row)}\n`).join("");
}
