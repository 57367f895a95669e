/** A table on stdout: headers in capitals, columns three spaces apart. */
export function printTable(headers: readonly string[], rows: readonly (readonly string[])[]): void {
  // What a registry says must not move the cursor.
  const plain = [headers, ...rows].map((row) => row.map((cell) => cell.replace(/[\p{Cc}\p{Cf}]+/gu, " ")));
  const widths = headers.map((_, column) => Math.max(...plain.map((row) => row[column]?.length ?? 0)));
  for (const row of plain) {
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("   ")
        .trimEnd(),
    );
  }
}
