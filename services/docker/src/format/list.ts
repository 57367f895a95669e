import { rowJson, WHOLE_ROW } from "@longshore/template";
import { formatTable } from "./table.ts";
import { renderHeaders, renderRows } from "./template.ts";

/** A field of a list command's templates. */
export interface Column<T> {
  readonly header: string;
  readonly value: (item: T) => string | null;
}

export interface ListOptions<T> {
  /** What messages call a row, as in Docker's client: `*formatter.ContainerContext`. */
  type: string;
  columns: Readonly<Record<string, Column<T>>>;
  /** For templates that ask for one, `{{.Label "name"}}`; left out: they can't. */
  labels?: (item: T) => Readonly<Record<string, string>> | null | undefined;
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
  { type, columns, labels, format, usual, quiet }: ListOptions<T>,
): string {
  const template = format === "table" ? (quiet ? "{{.ID}}" : usual) : format;
  const rows = items.map((item) => {
    const row = lazyRow(columns, item, type);
    return labels ? withLabel(row, (name) => labels(item)?.[name] ?? "") : row;
  });
  if (template === "json") return rows.map((row) => `${rowJson(row)}\n`).join("");
  if (!template.startsWith("table"))
    return renderRows(withEscapes(template), rows)
      .map((text) => `${text}\n`)
      .join("");
  const body = withEscapes(template.slice("table".length).trim());
  const titles = Object.entries(columns).map(([name, { header }]) => [name, header]);
  const headers = Object.fromEntries(labels ? [...titles, ["Label", labelHeader]] : titles);
  const lines = renderRows(body, rows);
  return formatTable([renderHeaders(body, headers), ...lines].map((text) => text.split("\t")));
}

/** The fields of an item, computed when a template asks for them. */
function lazyRow<T>(
  columns: Readonly<Record<string, Column<T>>>,
  item: T,
  type: string,
): Record<string, string | null> {
  const row = { [WHOLE_ROW]: type };
  for (const [name, { value }] of Object.entries(columns)) {
    Object.defineProperty(row, name, { get: () => value(item), enumerable: true });
  }
  return row;
}

/** Not among the fields that are shown all together. */
function withLabel<T extends object>(row: T, label: (name: string) => string): T {
  return Object.defineProperty(row, "Label", { value: label, enumerable: false });
}

/** As Docker makes a title of a label's name: its last part, with blanks. */
function labelHeader(name: string): string {
  return (name.split(".").at(-1) ?? "").replace(/[-_]/g, " ");
}

/** Templates from a shell write a tab as backslash t. */
function withEscapes(template: string): string {
  return template.replaceAll("\\t", "\t").replaceAll("\\n", "\n");
}
