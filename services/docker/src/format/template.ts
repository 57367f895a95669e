import {
  checkTemplate as check,
  type GoType,
  renderTemplate as render,
  renderDecoded as renderAs,
  TemplateError,
} from "@longshore/template";
import { CliError } from "../cli-error.ts";

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
export function checkTemplate(template: string): void {
  told(() => check(template));
}

function told<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    throw new CliError(error.message, error.isSyntax ? SYNTAX_EXIT_CODE : 1);
  }
}
