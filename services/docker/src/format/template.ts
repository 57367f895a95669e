import {
  checkTemplate as check,
  type GoType,
  renderTemplate as render,
  renderDecoded as renderAs,
  renderTyped,
  TemplateError,
} from "@longshore/template";
import { CliError } from "../cli-error.ts";
import { print } from "../io/output.ts";

/** Docker's for what is no template. */
const SYNTAX_EXIT_CODE = 64;

/** @throws CliError for a template that can't be parsed or a field that is not there */
export function renderTemplate(template: string, data: unknown): string {
  return told(() => render(template, data));
}

/** With JSON as Go decodes it into a type. @throws CliError as above */
export function renderDecoded(template: string, json: unknown, type: GoType): string {
  return told(() => renderAs(template, json, type));
}

/** @throws CliError with exit code 64 when it is no template */
export function checkTemplate(template: string, name = ""): void {
  told(() => check(template, name));
}

/** The rows of a list. @throws CliError in the words that Docker's client has for lists */
export function renderRows(template: string, rows: readonly object[]): string[] {
  try {
    check(template);
    return rows.map((row) => render(template, row));
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw new CliError(`failed to ${error.isSyntax ? "parse" : "execute"} template: ${error.message}`);
  }
}

/** The titles of a table's columns, by the names of their fields: what has none is shown as such. */
export function renderHeaders(template: string, headers: Readonly<Record<string, unknown>>): string {
  return told(() => renderTyped(template, headers, { map: "string" }));
}

/** Whether a template asks for nothing that a type has not. */
export function isEnough(template: string, json: unknown, type: GoType): boolean {
  try {
    renderTyped(template, json, type);
    return true;
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    return error.isSyntax;
  }
}

/**
 * Print what a template makes of JSON, as Go decodes it into a type; also what comes before a failure.
 *
 * @param name the template's, for messages
 * @throws CliError as above
 */
export function printTyped(template: string, json: unknown, type: GoType, name = ""): void {
  try {
    print(renderTyped(template, json, type, name));
  } catch (error) {
    if (error instanceof TemplateError && !error.isSyntax) print(error.output);
    told(() => {
      throw error;
    });
  }
}

function told<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    if (error.isSyntax) throw new CliError(`template parsing error: ${error.message}`, SYNTAX_EXIT_CODE);
    throw new CliError(error.message);
  }
}
