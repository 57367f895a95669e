/** A template that can't be read, or carried out. */
export class TemplateError extends Error {
  override readonly name = "TemplateError";
  /** It is no template, whatever the data. */
  readonly isSyntax: boolean;

  constructor(message: string, { isSyntax = false }: { isSyntax?: boolean } = {}) {
    super(message);
    this.isSyntax = isSyntax;
  }
}
