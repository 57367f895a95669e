/** A template that can't be read, or carried out: in the words of Go's text/template. */
export class TemplateError extends Error {
  override readonly name = "TemplateError";
  /** It is no template, whatever the data. */
  readonly isSyntax: boolean;
  /** What it has rendered before it failed. */
  output = "";

  constructor(message: string, { isSyntax = false }: { isSyntax?: boolean } = {}) {
    super(message);
    this.isSyntax = isSyntax;
  }
}
