import { formatTable } from "./table.ts";
import { renderTemplate } from "./template.ts";
import { rowJson, WHOLE_ROW } from "./template-functions.ts";

/** A field of a list command's templates. */
export interface Column<T> {
  readonly header: string;
  readonly value: (item: T) => string | null;
}

export interface ListOptions<T> {
  columns: Readonly<Record<string, Column<T>>>;
  /** What the user asked for: `table`, `json`, `table TEMPLATE` or a template. */
  format: string;
  /** The template that plain `table` stands for. */
  usual: string;
  /** Ids only, unless the user gave a template. */
  quiet: boolean;
}

/** The output of a list command. @throws CliError for a wrong template */
export function formatList<T>(
  items: readonly T[],
  { columns, format, usual, quiet }: ListOptions<T>,
): string {
  const template = format === "table" ? (quiet ? "{{.ID}}" : usual) : format;
  const rows = items.map((item) => lazyRow(columns, item));
  if (template === "json") return rows.map((row) => `${rowJson(row)}\n`).join("");
  if (!template.startsWith("table"))
    return rows.map((row) => `${renderTemplate(withEscapes(template), row)}\n`).join("");
  const body = withEscapes(template.slice("table".length).trim());
  const headers = Object.fromEntries(Object.entries(columns).map(([name, { header }]) => [name, header]));
  const lines = [headers, ...rows].map((row) => renderTemplate(body, row).split("\t"));
  return formatTable(lines);
}

/** The fields of an item, computed when a template asks for them. */
function lazyRow<T>(columns: Readonly<Record<string, Column<T>>>, item: T): Record<string, string | null> {
  const row = { [WHOLE_ROW]: true };
  for (const [name, { value }] of Object.entries(columns)) {
    Object.defineProperty(row, name, { get: () => value(item), enumerable: true });
  }
  return row;
}

/** Templates from a shell write a tab as backslash t. */
function withEscapes(template: string): string {
  return template.replaceAll("\\t", "\t").replaceAll("\\n", "\n");
}
